"""Monte-Carlo prediction: its memory, what a shared trunk saves, and a Python loop.

    python benchmarks/mc.py            # a minute or two
    python benchmarks/mc.py --quick    # few rounds, to see that it runs

Three questions. Does memory grow with the number of samples? What do 64 samples of a
network cost whose trunk, nine tenths of its work, lies before its first dropout? And is
one program faster than a Python loop of compiled passes?
"""

import argparse
import itertools
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import jaxdrop
from jaxdrop import mc
from timing import (
    Goal,
    Timing,
    describe_machine,
    interleaved,
    keep_freed_memory,
    print_goals,
    print_table,
    write_json,
)

RATE = 0.5
SIZES = (64, 256, 256, 10)
LARGER = (784, 512, 512, 10)
TRUNK = (512,) * 11 + (10,)  # nine of ten square matrices come before the dropout
LOOPED = "loop of jitted passes"


def network(key: jax.Array, sizes: tuple[int, ...]) -> list[jax.Array]:
    """The matrices of a network."""
    pairs = list(itertools.pairwise(sizes))
    keys = jax.random.split(key, len(pairs))
    init = jax.nn.initializers.he_normal()
    return [init(k, shape) for k, shape in zip(keys, pairs, strict=True)]


def with_dropout(
    key: jax.Array, params: list[jax.Array], x: jax.Array, *, first: int = 1
) -> jax.Array:
    """The logits, with dropout before each matrix from ``first`` on."""
    for layer, kernel in enumerate(params):
        if layer:
            x = jax.nn.relu(x)
        if layer >= first:
            x = jaxdrop.dropout(jax.random.fold_in(key, layer), x, rate=RATE)
        x = x @ kernel
    return x


def without_dropout(params: list[jax.Array], x: jax.Array) -> jax.Array:
    """The logits of one pass without noise."""
    *hidden, last = params
    for kernel in hidden:
        x = jax.nn.relu(x @ kernel)
    return x @ last


def predictor(
    apply: Callable[..., jax.Array], num_samples: int, chunk_size: int = 1
) -> Callable[..., Any]:
    """One program for the mean and the variance of the samples."""

    def stats(key: jax.Array, params: list[jax.Array], x: jax.Array) -> Any:
        return mc.predict(
            apply, key, params, x, num_samples=num_samples, chunk_size=chunk_size
        ).stats

    return jax.jit(stats)


def looped(num_samples: int) -> Callable[..., Any]:
    """What is written without a library: compiled passes in a Python loop."""
    one_pass = jax.jit(with_dropout)

    def stats(key: jax.Array, params: list[jax.Array], x: jax.Array) -> Any:
        keys = jax.random.split(key, num_samples)
        samples = jnp.stack([one_pass(key, params, x) for key in keys])
        return samples.mean(0), samples.var(0, ddof=1)

    return stats


def temporary_memory(counts: tuple[int, ...]) -> dict[int, int]:
    """Bytes of temporary memory by number of samples, in chunks of four."""
    key = jax.random.key(0)
    params, x = network(key, SIZES), jnp.ones((64, SIZES[0]))
    return {
        count: predictor(with_dropout, count, 4)
        .lower(key, params, x)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for count in counts
    }


def trunk_times(rounds: int) -> dict[str, Timing]:
    """64 samples against one pass, of a network that is mostly trunk."""
    key = jax.random.key(0)
    params, x = network(key, TRUNK), jax.random.normal(key, (256, TRUNK[0]))
    one_pass = jax.jit(without_dropout)
    late = partial(with_dropout, first=len(params) - 2)
    early = predictor(with_dropout, 64)
    shared = {size: predictor(late, 64, size) for size in (1, 4)}
    contenders = {
        "one pass": lambda: one_pass(params, x),
        "64 samples": lambda: shared[1](key, params, x),
        "in chunks of 4": lambda: shared[4](key, params, x),
        "dropout everywhere": lambda: early(key, params, x),
    }
    return interleaved(contenders, rounds=max(3, rounds // 2), label="trunk")


def loop_times(
    rounds: int, sizes: tuple[int, ...], batch: int, num_samples: int = 100
) -> dict[str, Timing]:
    """One program against a loop of passes."""
    key = jax.random.key(0)
    params, x = network(key, sizes), jax.random.normal(key, (batch, sizes[0]))
    programs = {LOOPED: looped(num_samples)} | {
        f"predict, chunks of {size}": predictor(with_dropout, num_samples, size)
        for size in (1, 4, 20)
    }
    contenders = {
        name: partial(program, key, params, x) for name, program in programs.items()
    }
    return interleaved(contenders, rounds=rounds, label="loop")


def print_memory(memory: dict[int, int]) -> None:
    """Prints bytes by number of samples."""
    table = Table(title="Temporary memory, chunks of 4")
    table.add_column("samples", justify="right")
    table.add_column("KiB", justify="right")
    for count, size in memory.items():
        table.add_row(str(count), f"{size / 1024:.1f}")
    Console().print(table)


def goals(
    memory: dict[int, int],
    trunk: dict[str, Timing],
    loops: dict[str, dict[str, Timing]],
) -> list[Goal]:
    """What was aimed at, in ratios of bytes and of medians."""
    found = [
        Goal("memory, largest of smallest", 1.01, max(*memory.values()) / memory[8]),
        Goal("64 samples, of one pass", 10, _ratio(trunk, "64 samples", "one pass")),
    ]
    for number, (row, times) in enumerate(loops.items()):
        program = "predict, chunks of 4"
        ratio = _ratio(times, program, LOOPED)
        found.append(Goal(f"{row}: {program}, of a loop", 1 if number else 0.5, ratio))
    return found


def _ratio(times: dict[str, Timing], name: str, other: str) -> float:
    return times[name].median / times[other].median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("results/mc.json")
    )
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    keep_freed_memory()
    print(describe_machine())
    memory = temporary_memory((8, 64, 512))
    print_memory(memory)
    trunk = {"10 x 512², batch 256": trunk_times(rounds)}
    print_table("Nine tenths of the work before the dropout", trunk)
    loops = {
        f"{'-'.join(map(str, sizes))}, batch {batch}": loop_times(rounds, sizes, batch)
        for sizes, batch in ((SIZES, 64), (SIZES, 1), (LARGER, 256))
    }
    print_table("100 samples", loops)
    found = goals(memory, trunk["10 x 512², batch 256"], loops)
    print_goals(found)
    results = {
        "temporary_bytes": memory,
        "trunk": trunk,
        "loop": loops,
        "goals": found,
    }
    write_json(options.output, results)


if __name__ == "__main__":
    main()
