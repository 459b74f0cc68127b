"""A sweep of dropout's rate: one vmapped program, one program, or one for each rate.

    python benchmarks/sweep.py            # 16 rates and 8 seeds, some minutes on a CPU
    python benchmarks/sweep.py --quick    # few runs, to see that it works

The same network learns the same digits at every rate from every seed,

- as one program, mapped over rates and seeds, which is called once;
- run after run, with a rate that is data, as ``jaxdrop.nnx.Rate`` makes it;
- run after run, with a rate that is a Python number, as ``flax.nnx.Dropout`` needs it.

Programs are counted as the compiler is called, and its seconds are told from those of
tracing and of running. What arithmetic bounds, as on a CPU, no mapping makes faster;
what waits for one small run after another, as on a GPU, it does.
"""

import argparse
import pathlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from tqdm import tqdm

import jaxdrop
from timing import describe_machine, keep_freed_memory, write_json

_COMPILE = "/jax/core/compile/backend_compile_duration"
_NUM_TRAIN, _BATCH = 500, 50
Drop = Callable[[nnx.Rngs], nnx.Module]


@dataclass
class Cost:
    """What a way to sweep has cost.

    Attributes:
      programs: how many times the compiler was called.
      compile_seconds: what it took, with tracing.
      run_seconds: what the programs took, compiled.
      losses: the final training losses, ``(rates, seeds)``.
    """

    programs: int = 0
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    losses: Any = None


@dataclass(frozen=True)
class Training:
    """A run as a function of its network and key.

    Attributes:
      x: the training images.
      y: their classes.
      width: the number of units of both hidden layers.
      num_steps: how many batches are learned from.
    """

    x: Array
    y: Array
    width: int
    num_steps: int

    def run(self, drop: Drop, key: Array) -> Array:
        """Trains a network and returns its mean loss over the last tenth of steps."""
        init_key, batch_key = jax.random.split(key)
        model = self._network(drop, nnx.Rngs(init_key))
        graphdef, params, rest = nnx.split(model, nnx.Param, ...)
        optimizer = optax.adam(3e-3)

        def step(carry: tuple[Any, ...], index: Array) -> tuple[tuple[Any, ...], Array]:
            params, rest, opt_state = carry
            rows = jax.random.randint(
                jax.random.fold_in(batch_key, index), (_BATCH,), 0, _NUM_TRAIN
            )

            def loss_of(params: nnx.State) -> tuple[Array, nnx.State]:
                model = nnx.merge(graphdef, params, rest, copy=True)
                losses = optax.softmax_cross_entropy_with_integer_labels(
                    model(self.x[rows]), self.y[rows]
                )
                return losses.mean(), nnx.state(model, nnx.Not(nnx.Param))

            gradient = jax.value_and_grad(loss_of, has_aux=True)
            (loss, rest), grads = gradient(params)
            updates, opt_state = optimizer.update(grads, opt_state)
            params = optax.apply_updates(params, updates)
            return (params, rest, opt_state), loss

        carry = (params, rest, optimizer.init(params))
        _, losses = lax.scan(step, carry, jnp.arange(self.num_steps))
        return losses[-max(1, self.num_steps // 10) :].mean()

    def _network(self, drop: Drop, rngs: nnx.Rngs) -> nnx.Sequential:
        hidden = nnx.Linear(64, self.width, rngs=rngs)
        second = nnx.Linear(self.width, self.width, rngs=rngs)
        last = nnx.Linear(self.width, 10, rngs=rngs)
        layers = (hidden, nnx.relu, drop(rngs), second, nnx.relu, drop(rngs), last)
        return nnx.Sequential(*layers)


def with_data(rate: Array) -> Drop:
    """Dropout whose rate is a variable."""
    return lambda rngs: jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(rate), rngs=rngs)


def with_number(rate: float) -> Drop:
    """Flax's dropout, whose rate is a part of the program."""
    return lambda rngs: nnx.Dropout(rate, rngs=rngs)


@contextmanager
def counted_compilations() -> Iterator[list[float]]:
    """Collects the seconds of each call of the compiler."""
    calls: list[float] = []

    def listen(event: str, seconds: float, **details: Any) -> None:
        del details
        if event == _COMPILE:
            calls.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield calls
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def compiled(cost: Cost, function: Callable[..., Array], *args: Any) -> Callable:
    """A program for arguments like these; what it took is added to the cost."""
    with counted_compilations() as calls:
        start = time.perf_counter()
        program = jax.jit(function).lower(*args).compile()
        cost.compile_seconds += time.perf_counter() - start
    cost.programs += len(calls)
    return program


def timed(cost: Cost, program: Callable[..., Array], *args: Any) -> np.ndarray:
    """What a program gives; what it took is added to the cost."""
    start = time.perf_counter()
    result = jax.block_until_ready(program(*args))
    cost.run_seconds += time.perf_counter() - start
    return np.asarray(result)


def all_at_once(training: Training, rates: Array, keys: Array) -> Cost:
    """One program, mapped over rates and seeds, called once."""

    def run(rate: Array, key: Array) -> Array:
        return training.run(with_data(rate), key)

    cost = Cost()
    sweep = jax.vmap(jax.vmap(run, (None, 0)), (0, None))
    cost.losses = timed(cost, compiled(cost, sweep, rates, keys), rates, keys)
    return cost


def one_after_another(training: Training, rates: Array, keys: Array) -> Cost:
    """One program, called for each rate and seed."""

    def run(rate: Array, key: Array) -> Array:
        return training.run(with_data(rate), key)

    cost = Cost()
    program = compiled(cost, run, rates[0], keys[0])
    cost.losses = np.stack(
        [
            [timed(cost, program, rate, key) for key in keys]
            for rate in tqdm(rates, leave=False, disable=None)
        ]
    )
    return cost


def one_program_a_rate(training: Training, rates: Array, keys: Array) -> Cost:
    """A program for each rate, called for each seed."""
    cost = Cost()
    losses = []
    for rate in tqdm(rates.tolist(), leave=False, disable=None):

        def run(key: Array, rate: float = rate) -> Array:
            return training.run(with_number(rate), key)

        program = compiled(cost, run, keys[0])
        losses.append([timed(cost, program, key) for key in keys])
    cost.losses = np.stack(losses)
    return cost


WAYS = {
    "one program, all runs mapped": all_at_once,
    "one program, run after run": one_after_another,
    "a program for each rate (flax.nnx.Dropout)": one_program_a_rate,
}


def print_costs(costs: dict[str, Cost], num_runs: int) -> None:
    """Prints what each way has cost, and its total as a multiple of the first."""
    table = Table(title=f"{num_runs} runs", caption="s: seconds; x: of the first total")
    table.add_column("")
    for column in ("programs", "compile s", "run s", "total s", "x"):
        table.add_column(column, justify="right")
    totals = {
        name: cost.compile_seconds + cost.run_seconds for name, cost in costs.items()
    }
    first = next(iter(totals.values()))
    for name, cost in costs.items():
        seconds = (cost.compile_seconds, cost.run_seconds, totals[name])
        cells = (f"{value:.1f}" for value in seconds)
        ratio = f"{totals[name] / first:.2f}"
        table.add_row(name, str(cost.programs), *cells, ratio)
    Console(width=100).print(table)


def check_agreement(costs: dict[str, Cost]) -> None:
    """The runs are the same, so their losses must be, on the average of all seeds."""
    first, *others = (cost.losses.mean(1) for cost in costs.values())
    for losses in others:
        worst = float(np.abs(losses - first).max())
        print(f"largest difference of a rate's mean loss to the first: {worst:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few and short runs")
    parser.add_argument("--rates", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("results/sweep.json")
    )
    options = parser.parse_args()
    if options.quick:
        options.rates, options.seeds, options.width, options.steps = 3, 2, 16, 20
    keep_freed_memory()
    print(describe_machine())
    digits = load_digits()
    x = jnp.asarray(digits.data[:_NUM_TRAIN] / 16, jnp.float32)
    y = jnp.asarray(digits.target[:_NUM_TRAIN])
    training = Training(x, y, options.width, options.steps)
    rates = jnp.linspace(0.05, 0.8, options.rates)
    keys = jax.random.split(jax.random.key(0), options.seeds)
    costs = {name: way(training, rates, keys) for name, way in WAYS.items()}
    print_costs(costs, rates.size * keys.size)
    check_agreement(costs)
    settings = {
        name: value for name, value in vars(options).items() if name != "output"
    }
    write_json(options.output, {"settings": settings, "costs": plain(costs)})


def plain(costs: dict[str, Cost]) -> dict[str, Any]:
    """The costs as they are written to a file."""
    return {
        name: {**vars(cost), "losses": cost.losses.tolist()}
        for name, cost in costs.items()
    }


if __name__ == "__main__":
    main()
