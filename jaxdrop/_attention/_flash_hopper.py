"""Flash attention with dropout for NVIDIA GPUs from Hopper on: Pallas' Mosaic GPU.

A program has one warpgroup and one block of queries, and loops over the blocks of keys
that it sees; or one block of keys, and loops over the queries that see it, of all query
heads that share its head. The next blocks are copied to shared memory while one is
computed. In programs of the second kind tiles are (keys, queries), so that the left
operand of each product is in shared memory or is a tile in registers.

References:
  Dao, `FlashAttention-2: faster attention with better parallelism and work partitioning
  <https://arxiv.org/abs/2307.08691>`_, ICLR 2024.
  Shah, Bikshandi, Zhang, Thakkar, Ramani, Dao, `FlashAttention-3: fast and accurate
  attention with asynchrony and low-precision <https://arxiv.org/abs/2407.08608>`_,
  NeurIPS 2024.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention import _flash_warpgroup as unit
from jaxdrop._attention._flash_tile import Kernel, Numbers, Scalars
from jaxdrop._typing import Array


def forward(
    kernel: Kernel,
    numbers: Numbers,
    query: Array,
    key: Array,
    value: Array,
    extra: dict[str, Array],
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """The output, and for each query the sum of its weights and its largest logit."""
    assert not extra
    batch, length, heads, _ = query.shape
    row = tile.like(query, (batch, heads, length), jnp.float32)
    size, width = kernel.block
    steps = length // size
    output, weights, top = unit.call(
        partial(_forward, kernel, (heads, steps)),
        batch * heads * steps,
        [*numbers, query, key, value],
        [query, row, row],
        [
            unit.blocks(query, size),
            *(unit.blocks(x, width, unit.SLOTS) for x in (key, value)),
            unit.matrix(query, (size, width)),
            *(unit.row(size) for _ in range(2)),
            plgpu.Barrier(),
            plgpu.Barrier(num_arrivals=2, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    return output, weights, top


def _forward(kernel: Kernel, sizes: tuple[int, int], *references: Any) -> None:
    numbers, (query_at, key_at, value_at), (output_at, weights_at, top_at) = (
        references[:4],
        references[4:7],
        references[7:10],
    )
    query_in, key_in, value_in, tile_in, *rows_in, arrived, filled = references[10:]
    size, width = kernel.block
    example, head, block = unit.ids(*sizes)
    key_head = lax.div(head, np.int32(kernel.group))
    scalars = tile.scalars_of(numbers, example, head)
    first_query = block * np.int32(size)
    queries = pl.ds(first_query, size)
    plgpu.copy_gmem_to_smem(query_at.at[example, queries, head], query_in, arrived)
    plgpu.barrier_wait(arrived)

    def step(index: Array, slot: Array, sums: Any) -> Any:
        values, weights, top = sums
        firsts = first_query, index * np.int32(width)
        places = unit.places(*firsts, kernel.block, keys_axis=1)
        product = unit.product(query_in, unit.transposed(key_in.at[slot]))
        logits, _ = tile.logits_of(kernel, scalars, places, product, {})
        higher = jnp.maximum(top, logits.max(1))
        relative = jnp.exp(top - higher)
        own = jnp.exp(logits - unit.spread(higher, logits.shape, 0))
        survives = tile.survives(kernel, scalars, places)
        kept = unit.staged(jnp.where(survives, own, 0), tile_in)
        values = values * unit.spread(relative, values.shape, 0)
        values = values + unit.product(kept, value_in.at[slot])
        return values, weights * relative + own.sum(1), higher

    start = (
        jnp.full(query_in.shape, 0, jnp.float32),
        jnp.full((size,), 0.0, jnp.float32),
        jnp.full((size,), tile.LOWEST, jnp.float32),
    )
    first, last = tile.keys_seen(kernel, scalars, first_query)
    pairs = (key_at, key_in), (value_at, value_in)
    fetch = _fetch_of_keys(width, (example, key_head), pairs, filled)
    values, weights, top = unit.pipelined(first, last, fetch, filled, step, start)
    output = values * unit.spread(scalars.inverse / weights, values.shape, 0)
    query_in[...] = output.astype(query_in.dtype)
    rows_in[0][...], rows_in[1][...] = weights, top
    rows = example, head, queries
    unit.copied_back(
        (query_in, output_at.at[example, queries, head]),
        *zip(rows_in, (weights_at.at[rows], top_at.at[rows]), strict=True),
    )


def _fetch_of_keys(
    width: int, place: tuple[Array, Array], pairs: Any, filled: Any
) -> Callable[[Array, Any], None]:
    """Starts the copies of a block of keys, and of their values, into a slot.

    Args:
      width: the number of keys of a block.
      place: the example and the head of the keys.
      pairs: arrays in main memory, each with its slots in shared memory.
      filled: the barriers of the slots.
    """
    example, head = place

    def fetch(index: Array, slot: Any) -> None:
        keys = pl.ds(index * np.int32(width), width)
        for at, inside in pairs:
            part = at.at[example, keys, head]
            plgpu.copy_gmem_to_smem(part, inside.at[slot], filled.at[slot])

    return fetch


def backward(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: dict[str, Array],
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """Gradients of queries, keys and values; see :func:`_flash_tpu.backward`."""
    assert not extra
    query, key, value, change, *_ = arrays
    batch, length, heads, _ = query.shape
    size, width = kernel.block
    steps = length // size
    (of_query,) = unit.call(
        partial(_to_queries, kernel, (heads, steps)),
        batch * heads * steps,
        [*numbers, *arrays],
        [query],
        [
            *(unit.blocks(x, size) for x in (query, change)),
            *(unit.blocks(x, width, unit.SLOTS) for x in (key, value)),
            unit.matrix(query, (size, width)),
            *(unit.row(size) for _ in range(3)),
            plgpu.Barrier(num_arrivals=5),
            plgpu.Barrier(num_arrivals=2, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    key_heads, steps = key.shape[2], key.shape[1] // width
    of_key, of_value = unit.call(
        partial(_to_keys, kernel, (key_heads, steps)),
        batch * key_heads * steps,
        [*numbers, *arrays],
        [key, value],
        [
            *(unit.blocks(x, width) for x in (key, value)),
            *(unit.blocks(x, size, unit.SLOTS) for x in (query, change)),
            *(unit.matrix(query, (width, size)) for _ in range(2)),
            *(unit.row(size, unit.SLOTS) for _ in range(3)),
            plgpu.Barrier(num_arrivals=2),
            plgpu.Barrier(num_arrivals=5, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    return of_query, of_key, of_value


def _to_queries(kernel: Kernel, sizes: tuple[int, int], *references: Any) -> None:
    numbers, inputs, of_query_at = references[:4], references[4:11], references[11]
    query_at, key_at, value_at, change_at, *rows_at = inputs
    query_in, change_in, key_in, value_in, tile_in, *rest = references[12:]
    *rows_in, arrived, filled = rest
    size, width = kernel.block
    example, head, block = unit.ids(*sizes)
    key_head = lax.div(head, np.int32(kernel.group))
    scalars = tile.scalars_of(numbers, example, head)
    first_query = block * np.int32(size)
    queries = pl.ds(first_query, size)
    for at, inside in ((query_at, query_in), (change_at, change_in)):
        plgpu.copy_gmem_to_smem(at.at[example, queries, head], inside, arrived)
    for at, inside in zip(rows_at, rows_in, strict=True):
        plgpu.copy_gmem_to_smem(at.at[example, head, queries], inside, arrived)
    plgpu.barrier_wait(arrived)
    rows = [unit.loaded(at, 1) for at in rows_in]

    def step(index: Array, slot: Array, gradient: Array) -> Array:
        firsts = first_query, index * np.int32(width)
        key = key_in.at[slot]
        products = (
            unit.product(query_in, unit.transposed(key)),
            unit.product(change_in, unit.transposed(value_in.at[slot])),
        )
        _, of_logits = _changes(kernel, scalars, firsts, products, rows, keys_axis=1)
        return gradient + unit.product(unit.staged(of_logits, tile_in), key)

    first, last = tile.keys_seen(kernel, scalars, first_query)
    start = jnp.full(query_in.shape, 0, jnp.float32)
    pairs = (key_at, key_in), (value_at, value_in)
    fetch = _fetch_of_keys(width, (example, key_head), pairs, filled)
    gradient = unit.pipelined(first, last, fetch, filled, step, start)
    query_in[...] = (gradient * scalars.factor).astype(query_in.dtype)
    unit.copied_back((query_in, of_query_at.at[example, queries, head]))


def _to_keys(kernel: Kernel, sizes: tuple[int, int], *references: Any) -> None:
    numbers, inputs, outputs = references[:4], references[4:11], references[11:13]
    query_at, key_at, value_at, change_at, *rows_at = inputs
    key_in, value_in, query_in, change_in, *rest = references[13:]
    kept_in, tile_in, *rows_in, arrived, filled = rest
    size, width = kernel.block
    example, key_head, block = unit.ids(*sizes)
    first_head = key_head * np.int32(kernel.group)
    first_key = block * np.int32(width)
    keys = pl.ds(first_key, width)
    for at, inside in ((key_at, key_in), (value_at, value_in)):
        plgpu.copy_gmem_to_smem(at.at[example, keys, key_head], inside, arrived)
    plgpu.barrier_wait(arrived)
    scalars = tile.scalars_of(numbers, example, first_head)
    first, last = tile.queries_seeing(kernel, scalars, first_key)
    count = jnp.maximum(last - first, np.int32(1))

    def place(index: Array) -> tuple[Array, Array]:
        """The head and the first query of a step."""
        block = first + lax.rem(index, count)
        return first_head + lax.div(index, count), block * np.int32(size)

    def fetch(index: Array, slot: Array | int) -> None:
        head, first_query = place(index)
        queries = pl.ds(first_query, size)
        for at, inside in ((query_at, query_in), (change_at, change_in)):
            part = at.at[example, queries, head]
            plgpu.copy_gmem_to_smem(part, inside.at[slot], filled.at[slot])
        for at, inside in zip(rows_at, rows_in, strict=True):
            part = at.at[example, head, queries]
            plgpu.copy_gmem_to_smem(part, inside.at[slot], filled.at[slot])

    def step(index: Array, slot: Array, sums: Any) -> Any:
        head, first_query = place(index)
        own = tile.scalars_of(numbers, example, head)
        query, change = query_in.at[slot], change_in.at[slot]
        products = (
            unit.product(key_in, unit.transposed(query)),
            unit.product(value_in, unit.transposed(change)),
        )
        rows = [unit.loaded(at.at[slot], 0) for at in rows_in]
        firsts = first_query, first_key
        kept, of_logits = _changes(kernel, own, firsts, products, rows, keys_axis=0)
        return (
            sums[0] + unit.product(unit.staged(of_logits, tile_in), query),
            sums[1] + unit.product(unit.staged(kept, kept_in), change),
        )

    start = (
        jnp.full(key_in.shape, 0, jnp.float32),
        jnp.full(key_in.shape, 0, jnp.float32),
    )
    steps = np.int32(kernel.group) * jnp.maximum(last - first, np.int32(0))
    of_key, of_value = unit.pipelined(np.int32(0), steps, fetch, filled, step, start)
    key_in[...] = (of_key * scalars.factor).astype(key_in.dtype)
    value_in[...] = (of_value * scalars.inverse).astype(value_in.dtype)
    part = example, keys, key_head
    unit.copied_back((key_in, outputs[0].at[part]), (value_in, outputs[1].at[part]))


def _changes(
    kernel: Kernel,
    scalars: Scalars,
    firsts: tuple[Array, Array],
    products: tuple[Array, Array],
    rows: list[Array],
    *,
    keys_axis: int,
) -> tuple[Array, Array]:
    """The weights of a tile that survive, and the gradient of its logits.

    Both lack the factor ``scalars.inverse``.

    Args:
      kernel: the static facts about the call.
      scalars: the scalars of the head.
      firsts: the positions of the first query and key.
      products: of queries and keys, and of the gradients of outputs and values.
      rows: one number for each query, see :func:`_flash._rows`.
      keys_axis: the axis of the keys.
    """
    product, of_weights = products
    inverse, top, share = (unit.spread(x, product.shape, 1 - keys_axis) for x in rows)
    places = unit.places(*firsts, kernel.block, keys_axis=keys_axis)
    logits, attended = tile.logits_of(kernel, scalars, places, product, {})
    weights = jnp.exp(logits - top) * inverse
    survives = tile.survives(kernel, scalars, places)
    of_logits = weights * (jnp.where(survives, of_weights, 0) - share)
    if attended is not None:
        of_logits = jnp.where(attended, of_logits, 0)
    return jnp.where(survives, weights, 0), of_logits


def available(requested: bool = False) -> bool:
    """Whether kernels can be compiled here: for a Hopper GPU, and no later one.

    Later GPUs have no products of warpgroups. Where there is no GPU, as on a machine
    that compiles for another one, kernels are compiled on request. Where JAX does not
    have an interpreter for these kernels, they could not be tested.
    """
    if not hasattr(plgpu, "InterpretGPUParams"):
        return False
    try:
        gpus = jax.devices("cuda")
    except RuntimeError:
        return requested
    found: bool = gpus[0].compute_capability == "9.0"
    return found


# Layouts.


def laid_out(kernel: Kernel, x: Array, name: str) -> Array:
    """Pads an array to whole blocks, and to 64 or 128 features."""
    length, width = kernel.block
    size = length if name == "query" else width
    return tile.padded(x, {1: size, 3: unit.SWIZZLE // x.dtype.itemsize})


def laid_back(kernel: Kernel, x: Array, like: Array) -> Array:
    """Undoes :func:`laid_out`, for a result with the shape of ``like``."""
    del kernel
    return x[:, : like.shape[1], :, : like.shape[3]]


def row(kernel: Kernel, x: Array, beyond: float) -> Array:
    """Pads one number for each query to whole blocks, with the number ``beyond``."""
    return tile.padded(x, {2: kernel.block[0]}, beyond)
