"""How sure a network is beyond its data: figure 2 of Gal and Ghahramani (2016).

    python examples/mc_dropout_regression.py
    python examples/mc_dropout_regression.py --dataset co2 --data-dir ~/data

Two networks with dropout are asked about times far after the end of a series: one with
rectifiers, whose uncertainty grows with the distance from the data, and one with
hyperbolic tangents, whose uncertainty hardly does. The figure shows the mean of the
samples, two of their standard deviations, and samples as functions of time.

The networks are smaller than the paper's, and are trained with Adam for a fraction of
its million steps: of its series, the carbon dioxide over Mauna Loa, they learn the rise
and not all seasons. Without files a series with slower seasons is made up.

Gal, Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty
in deep learning", ICML 2016, https://arxiv.org/abs/1506.02142.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import jaxdrop
from data import DataError, load_series
from jaxdrop import mc, penalties, plots

Params = list[dict[str, Array]]
Apply = Callable[..., Array]
ACTIVATIONS = {"ReLU": jax.nn.relu, "tanh": jnp.tanh}
VALUES = {
    "co2": "CO₂ over Mauna Loa, standardized",
    "made-up": "value, standardized",
}
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
    stds, figure = {}, plots.new_figure(2, height=3.6)
    panels = figure.subplots(1, len(ACTIVATIONS), sharey=True)
    unit, label = time_unit(args.dataset, times)
    for axes, (name, activation) in zip(panels, ACTIVATIONS.items(), strict=True):
        apply = partial(network, activation=activation, rate=args.rate)
        key = jax.random.key(0)
        series = jnp.asarray(times, jnp.float32), jnp.asarray(values, jnp.float32)
        params = train(key, apply, init(key, args.hidden), series, steps, name)
        predict = jax.jit(partial(mc.predict, apply, num_samples=args.samples))
        functions = jax.jit(
            partial(mc.samples, apply, num_samples=5, draws="shared", chunk_size=5)
        )
        stats = jax.device_get(predict(key, params, grid).stats)
        draws = functions(key, params, grid)
        stds[name] = np.sqrt(stats["var"])
        plots.predictive_band(
            (grid - end) / unit,
            stats["mean"],
            stds[name],
            observed=((times - end) / unit, values),
            samples=np.asarray(draws),
            ax=axes,
        )
        axes.set(title=name, xlabel=label, ylabel="")
    handles, names = panels[0].get_legend_handles_labels()
    for axes in panels:
        axes.axvline(0, color="0.5", ls=":", lw=1)
        axes.get_legend().remove()
    figure.legend(
        *(handles, names),
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        fontsize="small",
    )
    panels[0].set_ylabel(VALUES[args.dataset])
    figure.suptitle(
        f"{args.dataset}, rate {args.rate:g}, {steps} steps, {args.samples} samples",
        fontsize=11,
    )
    console.print(report(grid, stds, end, args.beyond))

    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / f"mc_dropout_regression_{args.dataset}.png"
    figure.savefig(path, dpi=150)
    console.print(f"Wrote {path}.")


def made_up() -> tuple[np.ndarray, np.ndarray]:
    """A rising series with slow seasons."""
    times = np.linspace(-1.73, 1.73, 272)
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(times))
    values = times + 0.15 * times**2 + 0.5 * np.sin(6 * times) + noise
    return times, (values - values.mean()) / values.std()


def time_unit(dataset: str, times: np.ndarray) -> tuple[float, str]:
    """A unit in which times are shown, and the name of the axis."""
    if dataset == "co2":  # one observation a month
        return 12 * float(np.median(np.diff(times))), "years after the last observation"
    return 1.0, "time after the last observation"


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


def report(
    times: np.ndarray, stds: dict[str, np.ndarray], end: float, beyond: float
) -> Table:
    """The standard deviation of samples at some distances from the data."""
    table = Table(title="Standard deviation of the samples")
    table.add_column("time after the last observation")
    for name in stds:
        table.add_column(name, justify="right")
    within = (f"{std[times <= end].mean():.3f}" for std in stds.values())
    table.add_row("before it, mean", *within)
    for distance in np.linspace(0, beyond, 5)[1:]:
        row = np.abs(times - end - distance).argmin()
        cells = (f"{std[row]:.3f}" for std in stds.values())
        table.add_row(f"{distance:.2f}", *cells)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", choices=("made-up", "co2"), default="made-up")
    add("--data-dir", type=Path, help="the folder that holds the folder co2")
    add("--hidden", type=int, nargs="+", default=(256, 256, 256))
    add("--rate", type=float, default=0.1, help="of dropping hidden units")
    add("--steps", type=int, help="4000 by default")
    add("--samples", type=int, default=1000)
    add("--beyond", type=float, default=4.0, help="how far after the data to ask")
    add("--quick", action="store_true", help="a short run, to see that all works")
    add("--output", type=Path, default=Path("results"), help="where files are written")
    return parser


if __name__ == "__main__":
    main()
