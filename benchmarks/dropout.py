"""Dropout against its peers: forward, forward and backward, and time to compile.

    python benchmarks/dropout.py            # a few minutes
    python benchmarks/dropout.py --quick    # small arrays, to see that it runs

Every peer drops the same array at rate 0.5 with the same kind of key, but for
``light``, which is ours with the light generator. ``x * c`` is the floor: reading and
writing the data once.
"""

import argparse
import os
import pathlib
import time
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "jax")

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import keras
from flax import linen, nnx

import jaxdrop
from timing import (
    Timing,
    describe_machine,
    interleaved,
    keep_freed_memory,
    print_table,
    summarize,
    write_json,
)

RATE = 0.5
Drop = Callable[[jax.Array, jax.Array], jax.Array]


def peers() -> dict[str, Drop]:
    """``(key, x) -> y`` for each library, ours first."""
    flax_nnx = nnx.Dropout(RATE)
    flax_linen = linen.Dropout(RATE, deterministic=False)
    equinox = eqx.nn.Dropout(RATE)
    return {
        "jaxdrop": lambda key, x: jaxdrop.dropout(key, x, rate=RATE),
        "light": lambda key, x: jaxdrop.dropout(jaxdrop.prng.light(key), x, rate=RATE),
        "flax.nnx": lambda key, x: flax_nnx(x, rngs=key),
        "flax.linen": lambda key, x: flax_linen.apply({}, x, rng=key),
        "equinox": lambda key, x: equinox(x, key=key),
        "haiku": lambda key, x: hk.dropout(key, RATE, x),
        "keras": lambda key, x: keras.random.dropout(x, RATE, seed=key),
        "x * c": lambda key, x: x * jnp.asarray(1 / (1 - RATE), x.dtype),
    }


def forward(drop: Drop) -> Callable[..., jax.Array]:
    """The output alone."""
    return jax.jit(lambda key, x, ct: drop(key, x))


def forward_and_backward(drop: Drop) -> Callable[..., tuple[jax.Array, ...]]:
    """The output, and the gradient for a cotangent."""

    def both(key: jax.Array, x: jax.Array, ct: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(lambda x: drop(key, x), x)
        return y, *pull(ct)

    return jax.jit(both)


PASSES = {"forward": forward, "forward + backward": forward_and_backward}


def run_times(
    shapes: list[tuple[int, ...]], rounds: int
) -> dict[str, dict[str, Timing]]:
    """Timings by row (pass, dtype, shape) and peer."""
    rows = {}
    key = jax.random.key(0)
    for shape in shapes:
        for dtype in (jnp.float32, jnp.bfloat16):
            x = jax.random.normal(key, shape, dtype)
            ct = jnp.cos(x)
            for name, make in PASSES.items():
                size = "x".join(map(str, shape))
                row = f"{name}, {jnp.dtype(dtype).name}, {size}"
                programs = {peer: make(drop) for peer, drop in peers().items()}
                contenders = {
                    peer: lambda program=program, x=x, ct=ct: program(key, x, ct)
                    for peer, program in programs.items()
                }
                count = rounds if x.size < 2**24 else max(3, rounds // 6)
                rows[row] = interleaved(contenders, rounds=count, label=row)
    return rows


def compile_times(rounds: int) -> dict[str, dict[str, Timing]]:
    """Seconds to trace and compile a gradient through 1 and 48 sites."""
    x = jnp.ones((256, 256))
    rows = {}
    for sites in (1, 48):
        seconds: dict[str, list[float]] = {}
        for _ in range(rounds):
            for peer, drop in peers().items():
                seconds.setdefault(peer, []).append(compile_once(drop, sites, x))
        timings = {peer: summarize(values) for peer, values in seconds.items()}
        rows[f"compile {sites} site{'s' * (sites > 1)}"] = timings
    return rows


def compile_once(drop: Drop, sites: int, x: jax.Array) -> float:
    """Seconds from a Python function to a program, with cold caches."""

    def loss(x: jax.Array, key: jax.Array) -> jax.Array:
        for site_key in jax.random.split(key, sites):
            x = jnp.tanh(drop(site_key, x))
        return x.sum()

    key = jax.random.key(0)
    jax.clear_caches()
    start = time.perf_counter()
    jax.jit(jax.grad(loss)).lower(x, key).compile()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays, few rounds")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("results/dropout.json")
    )
    options = parser.parse_args()
    keep_freed_memory()
    print(describe_machine())
    shapes = [(256, 256)] if options.quick else [(2048, 2048), (8192, 8192)]
    rounds = 3 if options.quick else options.rounds
    times = run_times(shapes, rounds)
    print_table("Dropout at rate 0.5", times)
    compiling = compile_times(1 if options.quick else 3)
    print_table("Trace and compile the gradient", compiling)
    write_json(options.output, {"run": times, "compile": compiling})


if __name__ == "__main__":
    main()
