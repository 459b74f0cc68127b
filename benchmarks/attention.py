"""Attention with dropout against its peers: time, memory, and what was aimed at.

    python benchmarks/attention.py            # a few minutes
    python benchmarks/attention.py --quick    # short sequences, to see that it runs
    python benchmarks/attention.py --pallas   # with our kernels, on a GPU
    python benchmarks/attention.py --keep-memory

Every peer attends to the same arrays and drops weights at rate 0.1, each example and
head its own. Attention without dropout, ours and that of ``jax.nn``, is what dropping
is compared with. Memory is what a compiled training step holds besides its inputs and
outputs. Each call takes it from the system, as in any program, and half a gigabyte of
fresh pages takes its time on a CPU; ``--keep-memory`` leaves that out, as if the
allocator never gave memory back. On a GPU, PyTorch's and cuDNN's fused attention run as
well, in half precision and twice as long.
"""

import argparse
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console
from rich.table import Table

import jaxdrop
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

RATE = 0.1
HEADS, FEATURES = 8, 64
OURS, FLAX, PLAIN = "jaxdrop", "flax.nnx", "jaxdrop, no mask"
KERNELS, TORCH = "jaxdrop, Pallas", "torch"
Attend = Callable[..., jax.Array]
"""From a key, queries, keys and values, (1, length, heads, features) each."""


def ours(key: jax.Array, *arrays: jax.Array, **options: Any) -> jax.Array:
    return jaxdrop.dot_product_attention(key, *arrays, rate=RATE, **options)


def in_kernels(key: jax.Array, *arrays: jax.Array, **options: Any) -> jax.Array:
    return ours(key, *arrays, implementation="pallas", **options)


def without_mask(key: jax.Array, *arrays: jax.Array, **options: Any) -> jax.Array:
    """The same program with one draw for all weights: what the mask costs is gone."""
    return ours(key, *arrays, broadcast_dims=(0, 1, 2, 3), **options)


def flax(key: jax.Array, *arrays: jax.Array, is_causal: bool = False) -> jax.Array:
    return nnx.dot_product_attention(
        *arrays,
        dropout_rng=key,
        dropout_rate=RATE,
        broadcast_dropout=False,
        is_causal=is_causal,
    )


def equinox(key: jax.Array, *arrays: jax.Array, is_causal: bool = False) -> jax.Array:
    """The module of Equinox without its projections, of which it has no function."""
    width = HEADS * FEATURES
    module = eqx.nn.MultiheadAttention(HEADS, width, dropout_p=RATE, key=key)
    projections = ("query_proj", "key_proj", "value_proj", "output_proj")
    module = eqx.tree_at(
        lambda m: [getattr(m, name) for name in projections],
        module,
        [eqx.nn.Identity()] * 4,
    )
    length = arrays[0].shape[1]
    mask = jnp.tril(jnp.ones((length, length), bool)) if is_causal else None
    flat = (x.reshape(length, width) for x in arrays)
    return module(*flat, mask=mask, key=key).reshape(arrays[0].shape)


def jax_nn(key: jax.Array, *arrays: jax.Array, **options: Any) -> jax.Array:
    return jax.nn.dot_product_attention(*arrays, **options)


def cudnn(key: jax.Array, *arrays: jax.Array, **options: Any) -> jax.Array:
    return jax_nn(key, *arrays, implementation="cudnn", **options)


def peers() -> dict[str, Attend]:
    """What is compared, ours first."""
    return {
        OURS: ours,
        FLAX: flax,
        "equinox": equinox,
        PLAIN: without_mask,
        "jax.nn, no dropout": jax_nn,
    }


def forward(attend: Attend, is_causal: bool) -> Callable[..., Any]:
    """The output alone."""
    return jax.jit(lambda key, *arrays: attend(key, *arrays, is_causal=is_causal))


def forward_and_backward(attend: Attend, is_causal: bool) -> Callable[..., Any]:
    """The gradients of the output's product with itself."""

    def loss(key: jax.Array, *arrays: jax.Array) -> jax.Array:
        y = attend(key, *arrays, is_causal=is_causal).astype(jnp.float32)
        return (y * y).sum()

    return jax.jit(jax.grad(loss, argnums=(1, 2, 3)))


PASSES = {"forward": forward, "forward + backward": forward_and_backward}
VIEWS = {"": False, ", causal": True}
ALL_KEYS, CAUSAL = "all keys", "causal"


def inputs(length: int, dtype: Any) -> list[jax.Array]:
    """Queries, keys and values."""
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(k, (1, length, HEADS, FEATURES), dtype) for k in keys]


def run_times(length: int, rounds: int) -> dict[str, dict[str, Timing]]:
    """Timings by row (pass and view) and peer, in single precision."""
    rows = {}
    key, arrays = jax.random.key(1), inputs(length, jnp.float32)
    for view, is_causal in VIEWS.items():
        for name, make in PASSES.items():
            row = f"{name}{view}"
            programs = {p: make(attend, is_causal) for p, attend in peers().items()}
            contenders = {
                peer: lambda program=program: program(key, *arrays)
                for peer, program in programs.items()
            }
            rows[row] = interleaved(contenders, rounds=rounds, label=row)
    return rows


def of_views(length: int, rounds: int) -> dict[str, Timing]:
    """Training steps of ours, causal and not, in turn: rows above are runs apart."""
    key, arrays = jax.random.key(1), inputs(length, jnp.float32)
    programs = [forward_and_backward(ours, is_causal) for is_causal in (False, True)]
    contenders = {
        name: lambda program=program: program(key, *arrays)
        for name, program in zip((ALL_KEYS, CAUSAL), programs, strict=True)
    }
    return interleaved(contenders, rounds=rounds, label="causal or not")


def on_gpu(length: int, rounds: int, pallas: bool) -> dict[str, dict[str, Timing]]:
    """Timings in bfloat16 against fused kernels, where there is a GPU."""
    rows = {}
    key, arrays = jax.random.key(1), inputs(length, jnp.bfloat16)
    compared = {OURS: ours, FLAX: flax, "cuDNN, no dropout": cudnn}
    if pallas:
        compared[KERNELS] = in_kernels
    for view, is_causal in VIEWS.items():
        for name, make in PASSES.items():
            programs = {p: make(attend, is_causal) for p, attend in compared.items()}
            contenders = {
                peer: lambda program=program: program(key, *arrays)
                for peer, program in programs.items()
            }
            if importlib.util.find_spec("torch"):
                contenders[TORCH] = of_torch(length, is_causal, name != "forward")
            row = f"bfloat16, {name}{view}"
            rows[row] = interleaved(contenders, rounds=rounds, label=row)
    return rows


def of_torch(length: int, is_causal: bool, backward: bool) -> Callable[[], None]:
    """PyTorch's fused attention with dropout on the same GPU."""
    import torch

    shape = (1, HEADS, length, FEATURES)
    options = {"device": "cuda", "dtype": torch.bfloat16, "requires_grad": backward}
    arrays = [torch.randn(shape, **options) for _ in range(3)]

    def run() -> None:
        y = torch.nn.functional.scaled_dot_product_attention(
            *arrays, dropout_p=RATE, is_causal=is_causal
        )
        if backward:
            torch.autograd.grad((y.float() ** 2).sum(), arrays)
        torch.cuda.synchronize()

    return run


def held(attend: Attend, length: int) -> int:
    """Bytes that a compiled training step holds for itself; nothing is run."""
    shape = jax.ShapeDtypeStruct((1, length, HEADS, FEATURES), jnp.float32)
    program = forward_and_backward(attend, is_causal=False)
    key = jax.eval_shape(jax.random.key, 0)
    compiled = program.lower(key, shape, shape, shape).compile()
    return int(compiled.memory_analysis().temp_size_in_bytes)


def memory(lengths: list[int]) -> dict[int, dict[str, int]]:
    """Bytes by length and peer."""
    return {
        length: {peer: held(attend, length) for peer, attend in peers().items()}
        for length in lengths
    }


def print_memory(rows: dict[int, dict[str, int]]) -> None:
    table = Table(
        title="Held by a training step, float32", caption="MB (times the first column)"
    )
    table.add_column("length")
    for peer in peers():
        table.add_column(peer, justify="right")
    for length, of_peers in rows.items():
        first = of_peers[OURS]
        cells = [f"{first / 1e6:.1f}"]
        for peer in list(of_peers)[1:]:
            cells.append(f"{of_peers[peer] / 1e6:.1f} ({of_peers[peer] / first:.2f})")
        table.add_row(f"{length}", *cells)
    Console(width=110).print(table)


def goals(
    times: dict[str, dict[str, Timing]],
    views: dict[str, Timing],
    bytes_held: dict[int, dict[str, int]],
) -> list[Goal]:
    """What was aimed at, in ratios of medians and of bytes."""

    def ratio(row: str, peer: str) -> float:
        return times[row][OURS].median / times[row][peer].median

    both, (shortest, *_, longest) = "forward + backward", bytes_held
    growth = bytes_held[longest][OURS] / bytes_held[shortest][OURS]
    compared = 2048 if 2048 in bytes_held else longest
    share = bytes_held[compared][OURS] / bytes_held[compared][FLAX]
    return [
        Goal("forward, of flax's time", 0.25, ratio("forward", FLAX)),
        Goal("forward + backward, of flax's time", 0.3, ratio(both, FLAX)),
        Goal("forward, of ours without mask", 1.3, ratio("forward", PLAIN)),
        Goal("forward + backward, of ours without mask", 1.3, ratio(both, PLAIN)),
        Goal(
            "causal forward + backward, of non-causal",
            0.7,
            views[CAUSAL].median / views[ALL_KEYS].median,
        ),
        Goal(f"memory at {compared}, of flax's", 0.05, share),
        Goal(
            f"growth of memory from {shortest} to {longest}, of that of the length",
            1.2,
            growth / (longest / shortest),
        ),
    ]


def goals_on_gpu(times: dict[str, dict[str, Timing]]) -> list[Goal]:
    """What was aimed at beside PyTorch, where it is installed."""
    row = times.get("bfloat16, forward + backward", {})
    if TORCH not in row:
        return []
    ratio = row.get(KERNELS, row[OURS]).median / row[TORCH].median
    return [Goal("bfloat16, forward + backward, of torch's", 1.5, ratio)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short, few rounds")
    parser.add_argument("--rounds", type=int, default=12)
    keep = "do not count what taking memory from the system costs"
    parser.add_argument("--keep-memory", action="store_true", help=keep)
    kernels = "on a GPU, time our Pallas kernels too; none has run there yet"
    parser.add_argument("--pallas", action="store_true", help=kernels)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("results/attention.json")
    )
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    print(describe_machine())
    length, rounds = (256, 3) if options.quick else (2048, options.rounds)
    lengths = [256, 1024] if options.quick else [1024, 2048, 4096, 8192, 16384]
    times = run_times(length, rounds)
    size = f"1 x {length} x {HEADS} heads x {FEATURES}"
    print_table(f"Attention with dropout at rate {RATE}, {size}, float32", times)
    views = of_views(length, rounds)
    print_table("Training steps of ours", {"forward + backward": views})
    fused = {}
    if jax.default_backend() == "gpu":
        fused = on_gpu(2 * length, rounds, options.pallas)
        print_table(f"Against fused kernels, {2 * length} queries", fused)
    bytes_held = memory(lengths)
    print_memory(bytes_held)
    found = goals(times, views, bytes_held) + goals_on_gpu(fused)
    print_goals(found, f"aimed at for 2048 queries; measured with {length}")
    measured = {"run": times, "views": {"forward + backward": views}, "gpu": fused}
    write_json(options.output, measured | {"memory": bytes_held, "goals": found})


if __name__ == "__main__":
    main()
