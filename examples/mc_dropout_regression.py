"""How sure a network is beyond its data: figure 2 of Gal and Ghahramani (2016).

    python examples/mc_dropout_regression.py
    python examples/mc_dropout_regression.py --dataset co2 --data-dir ~/data

Two networks with dropout are asked about times far after the end of a series: one with
rectifiers, whose uncertainty grows with the distance from the data, and one with
hyperbolic tangents, whose uncertainty hardly does. The figure shows the mean of the
samples, two of their standard deviations, and samples as functions of time.

The networks are smaller than the paper's, and are trained with Adam for a fraction of
its million steps: of its series, the carbon dioxide over Mauna Loa, they learn the rise
and not all seasons. Without files a series with slower seasons is made up. On two
CPU cores this takes about half a minute.

Gal, Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty
in deep learning", ICML 2016, https://arxiv.org/abs/1506.02142.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from regression.figures import Answer, draw
from regression.series import made_up
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import jaxdrop
from data import DataError, load_series
from jaxdrop import mc, penalties
from study.arguments import add_data, count, parser_of, positive, rate
from study.files import save
from study.tables import new_table

Params = list[dict[str, Array]]
Apply = Callable[..., Array]
ACTIVATIONS = {"ReLU": jax.nn.relu, "tanh": jnp.tanh}
WEIGHT_DECAY = 1e-6
_BLOCK = 100  # steps in one call of the program


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    try:
        times, values = (
            load_series(args.data_dir) if args.dataset == "co2" else made_up()
        )
    except DataError as error:
        parser.exit(2, f"{error}\n")
    steps = args.steps or (300 if args.quick else 4000)
    end = times.max()
    grid = np.linspace(times.min(), end + args.beyond, 400, dtype=np.float32)
    console = Console()
    console.print(f"Running on {jax.default_backend()}: {jax.devices()}")
    asked = {}
    for name, activation in ACTIVATIONS.items():
        apply = partial(network, activation=activation, rate=args.rate)
        key = jax.random.key(0)
        series = jnp.asarray(times, jnp.float32), jnp.asarray(values, jnp.float32)
        params = train(key, apply, init(key, args.hidden), series, steps, name)
        asked[name] = ask(key, apply, params, grid, args.samples)
    stds = {name: answer.std for name, answer in asked.items()}
    console.print(report(grid, stds, end, args.beyond))

    figure = draw(asked, grid, (times, values), dataset=args.dataset)
    figure.suptitle(
        f"{args.dataset}, rate {args.rate:g}, {steps} steps, {args.samples} samples",
        fontsize=11,
    )
    path = args.output / f"mc_dropout_regression_{args.dataset}.png"
    save(figure, path)
    console.print(f"Wrote {path}.")


def init(key: Array, hidden: tuple[int, ...]) -> Params:
    """Weights and biases, from one number to one number."""
    pairs = list(itertools.pairwise((1, *hidden, 1)))
    keys = jax.random.split(key, len(pairs))
    kernel = jax.nn.initializers.glorot_uniform()
    return [
        {"kernel": kernel(key, pair), "bias": jnp.zeros(pair[1])}
        for key, pair in zip(keys, pairs, strict=True)
    ]


def network(
    key: Array,
    params: Params,
    times: Array,
    *,
    activation: Callable[[Array], Array],
    rate: float,
) -> Array:
    """The values at ``times``, with dropout after each hidden layer."""
    x = times[:, None]
    for layer, weights in enumerate(params):
        if layer:
            key_of_layer = jax.random.fold_in(key, layer)
            x = jaxdrop.dropout(key_of_layer, activation(x), rate=rate)
        x = x @ weights["kernel"] + weights["bias"]
    return x[:, 0]


def train(
    key: Array, apply: Apply, params: Params, series: Any, steps: int, name: str
) -> Params:
    """Fits the whole series at each step, with a learning rate that ends at 0."""
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    state = params, optimizer.init(params)

    def loss_of(params: Params, key: Array) -> Array:
        times, values = series
        penalty = penalties.l2(params, coefficient=WEIGHT_DECAY / 2)
        return ((apply(key, params, times) - values) ** 2).mean() + penalty

    def step(state: Any, key: Array) -> tuple[Any, None]:
        params, opt_state = state
        grads = jax.grad(loss_of)(params, key)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    block = jax.jit(lambda state, keys: lax.scan(step, state, keys)[0])
    keys = jax.random.split(key, steps)
    with tqdm(total=steps, unit="step", desc=name) as bar:
        for first in range(0, steps, _BLOCK):
            some = keys[first : first + _BLOCK]
            state = jax.block_until_ready(block(state, some))
            bar.update(len(some))
    return state[0]


def ask(
    key: Array, apply: Apply, params: Params, times: np.ndarray, num_samples: int
) -> Answer:
    """The mean and the deviation of samples, and a few samples as functions of time."""
    predict = jax.jit(partial(mc.predict, apply, num_samples=num_samples))
    functions = jax.jit(
        partial(mc.samples, apply, num_samples=5, draws="shared", chunk_size=5)
    )
    stats = jax.device_get(predict(key, params, times).stats)
    draws = np.asarray(functions(key, params, times))
    return Answer(stats["mean"], np.sqrt(stats["var"]), draws)


def report(
    times: np.ndarray, stds: dict[str, np.ndarray], end: float, beyond: float
) -> Table:
    """The standard deviation of samples at some distances from the data."""
    distance_of = "time after the last observation"
    headings = (distance_of, *stds)
    table = new_table("Standard deviation of the samples", headings, text=[distance_of])
    within = (f"{std[times <= end].mean():.3f}" for std in stds.values())
    table.add_row("before it, mean", *within)
    for distance in np.linspace(0, beyond, 5)[1:]:
        row = np.abs(times - end - distance).argmin()
        cells = (f"{std[row]:.3f}" for std in stds.values())
        table.add_row(f"{distance:.2f}", *cells)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add_data(parser, ("made-up", "co2"), holds="co2")
    add("--hidden", type=count, nargs="+", default=(256, 256, 256))
    add("--rate", type=rate, default=0.1, help="of dropping hidden units")
    add("--steps", type=count, help="4000 by default")
    add("--samples", type=count, default=1000)
    add("--beyond", type=positive, default=4.0, help="how far after the data to ask")
    return parser


if __name__ == "__main__":
    main()
