"""The gradients of the kernels of Hopper GPUs, see :mod:`_flash_hopper`.

In the gradients of keys and values tiles are (keys, queries), so that the left operand
of each product is in shared memory or is a tile in registers. The gradient of a bias has
a program for each of its tiles.
"""

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention import _flash_warpgroup as unit
from jaxdrop._attention._flash_tile import Kernel, Numbers, Scalars
from jaxdrop._typing import Array

_ROWS = 3  # numbers for each query, see _flash._rows

Extra = dict[str, Array]
"""``bias`` and ``mask``, if given; each of their four axes is whole or of length 1."""


def backward(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    *,
    interpret: bool,
) -> tuple[Array, Array, Array]:
    """Gradients of queries, keys and values; see :func:`_flash_tpu.backward`."""
    of_query = _of_queries(kernel, numbers, arrays, extra, interpret)
    # Of wide heads, both gradients do not fit into registers.
    both = unit.narrowed(kernel, arrays[0].shape[3], 0) is kernel
    wanted = [("key", "value")] if both else [("key",), ("value",)]
    found: list[Array] = []
    for names in wanted:
        found += _of_keys(kernel, numbers, arrays, extra, names, interpret)
    return of_query, found[0], found[1]


def _of_queries(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    interpret: bool,
) -> Array:
    query, key, value, change, *_ = arrays
    batch, length, heads, features = query.shape
    kernel = unit.narrowed(kernel, features, 1)
    size, width = kernel.block
    steps = length // size
    memory = unit.Memory(kernel, query.dtype)
    (found,) = unit.call(
        partial(_to_queries, kernel, (heads, steps), tuple(extra)),
        batch * heads * steps,
        [*numbers, *arrays, *extra.values()],
        [query],
        [
            *(memory.blocks(x, size) for x in (query, change)),
            *(memory.blocks(x, width, unit.SLOTS) for x in (key, value)),
            memory.matrix(size, width),
            *(unit.row(size) for _ in range(_ROWS)),
            plgpu.Barrier(num_arrivals=2 + _ROWS),
            plgpu.Barrier(num_arrivals=2, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    gradient: Array = found
    return gradient


def _to_queries(
    kernel: Kernel, sizes: tuple[int, int], names: tuple[str, ...], *references: Any
) -> None:
    numbers, inputs = references[:4], references[4 : 11 + len(names)]
    of_query_at, *inside = references[11 + len(names) :]
    query_at, key_at, value_at, change_at, *rows_at = inputs[:7]
    query_in, change_in, key_in, value_in, tile_in, *rest = inside
    *rows_in, arrived, filled = rest
    extra = dict(zip(names, inputs[7:], strict=True))
    size, width = kernel.block
    example, head, block = unit.ids(*sizes)
    key_head = lax.div(head, np.int32(kernel.group))
    scalars = tile.scalars_of(numbers, example, head)
    first_query = block * np.int32(size)
    arrays = query_at, change_at, *rows_at
    inside = [query_in, change_in, *rows_in]
    _fetch_queries(arrays, inside, (example, head, block), arrived)
    plgpu.barrier_wait(arrived)
    rows = [unit.loaded(at, 1) for at in rows_in]

    def step(index: Array, slot: Array, gradient: Array) -> Array:
        firsts = first_query, index * np.int32(width)
        tiles = unit.extra_of(extra, (example, head), firsts, kernel.block)
        key = key_in.at[slot]
        products = (
            unit.product(query_in, unit.transposed(key)),
            unit.product(change_in, unit.transposed(value_in.at[slot])),
        )
        _, of_logits = _changes(kernel, scalars, firsts, products, rows, tiles, 1)
        return gradient + unit.product(unit.staged(of_logits, tile_in), key)

    first, last = tile.keys_seen(kernel, scalars, first_query)
    start = jnp.full(query_in.shape, 0, jnp.float32)
    pairs = (key_at, key_in), (value_at, value_in)
    fetch = unit.fetcher(width, (example, key_head), pairs, filled)
    gradient = unit.pipelined(first, last, fetch, filled, step, start)
    query_in[...] = (gradient * scalars.factor).astype(query_in.dtype)
    queries = pl.ds(first_query, size)
    unit.copied_back((query_in, of_query_at.at[example, queries, head]))


def _fetch_queries(
    arrays: tuple[Any, ...], inside: list[Any], place: tuple[Any, ...], barrier: Any
) -> None:
    """Starts the copies of queries, of gradients of outputs, and of their numbers.

    Args:
      arrays: these in main memory.
      inside: these in shared memory, for one block.
      place: the example, the head and the block.
      barrier: where their arrivals are counted.
    """
    example, head, block = place
    size = inside[0].shape[0]
    queries = pl.ds(block * np.int32(size), size)
    for number, (at, copied) in enumerate(zip(arrays, inside, strict=True)):
        where = (example, queries, head) if number < 2 else (example, head, queries)
        plgpu.copy_gmem_to_smem(at.at[where], copied, barrier)


def _of_keys(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    wanted: tuple[str, ...],
    interpret: bool,
) -> list[Array]:
    """Gradients of ``"key"``, of ``"value"``, or of both."""
    query, key, value, change, *_ = arrays
    kernel = unit.narrowed(kernel, query.shape[3], 0)
    size, width = kernel.block
    heads, steps = key.shape[2], key.shape[1] // width
    memory = unit.Memory(kernel, query.dtype)
    # A tile is loaded along its rows, which are those of an array in main memory.
    turned = [x.swapaxes(2, 3) for x in extra.values()]
    found: list[Array] = unit.call(
        partial(_to_keys, kernel, (heads, steps), tuple(extra), wanted),
        key.shape[0] * heads * steps,
        [*numbers, *arrays, *turned],
        [{"key": key, "value": value}[name] for name in wanted],
        [
            *(memory.blocks(x, width) for x in (key, value)),
            *(memory.blocks(x, size, unit.SLOTS) for x in (query, change)),
            *(memory.matrix(width, size) for _ in wanted),
            *(unit.row(size, unit.SLOTS) for _ in range(_ROWS)),
            plgpu.Barrier(num_arrivals=2),
            plgpu.Barrier(num_arrivals=2 + _ROWS, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    return found


def _to_keys(
    kernel: Kernel,
    sizes: tuple[int, int],
    names: tuple[str, ...],
    wanted: tuple[str, ...],
    *references: Any,
) -> None:
    numbers, inputs = references[:4], references[4 : 11 + len(names)]
    references = references[11 + len(names) :]
    outputs = dict(zip(wanted, references, strict=False))
    query_at, key_at, value_at, change_at, *rows_at = inputs[:7]
    key_in, value_in, query_in, change_in, *rest = references[len(wanted) :]
    tiles_in = dict(zip(wanted, rest, strict=False))
    *rows_in, arrived, filled = rest[len(wanted) :]
    extra = dict(zip(names, inputs[7:], strict=True))
    size, width = kernel.block
    example, key_head, block = unit.ids(*sizes)
    first_head = key_head * np.int32(kernel.group)
    first_key = block * np.int32(width)
    keys = pl.ds(first_key, width)
    for at, copied in ((key_at, key_in), (value_at, value_in)):
        plgpu.copy_gmem_to_smem(at.at[example, keys, key_head], copied, arrived)
    plgpu.barrier_wait(arrived)
    scalars = tile.scalars_of(numbers, example, first_head)
    first, last = tile.queries_seeing(kernel, scalars, first_key)
    count = jnp.maximum(last - first, np.int32(1))

    def place(index: Array) -> tuple[Array, Array]:
        """The head and the block of queries of a step."""
        block = first + lax.rem(index, count)
        return first_head + lax.div(index, count), block

    def fetch(index: Array, slot: Array | int) -> None:
        arrays = query_at, change_at, *rows_at
        inside = [x.at[slot] for x in (query_in, change_in, *rows_in)]
        _fetch_queries(arrays, inside, (example, *place(index)), filled.at[slot])

    def step(index: Array, slot: Array, sums: dict[str, Array]) -> dict[str, Array]:
        head, block = place(index)
        own = tile.scalars_of(numbers, example, head)
        firsts = block * np.int32(size), first_key
        tiles = unit.extra_of(extra, (example, head), firsts[::-1], (width, size))
        query, change = query_in.at[slot], change_in.at[slot]
        product = unit.product(key_in, unit.transposed(query))
        of_weights = None
        if "key" in wanted:
            of_weights = unit.product(value_in, unit.transposed(change))
        rows = [unit.loaded(at.at[slot], 0) for at in rows_in]
        products = product, of_weights
        kept, of_logits = _changes(kernel, own, firsts, products, rows, tiles, 0)
        added = {"key": (of_logits, query), "value": (kept, change)}
        return {
            name: sums[name] + unit.product(unit.staged(left, tiles_in[name]), right)
            for name, (left, right) in added.items()
            if name in wanted
        }

    start = {name: jnp.full(key_in.shape, 0, jnp.float32) for name in wanted}
    steps = np.int32(kernel.group) * jnp.maximum(last - first, np.int32(0))
    sums = unit.pipelined(np.int32(0), steps, fetch, filled, step, start)
    staged = {"key": (key_in, scalars.factor), "value": (value_in, scalars.inverse)}
    for name, total in sums.items():
        inside, factor = staged[name]
        inside[...] = (total * factor).astype(inside.dtype)
    unit.copied_back(
        *((staged[name][0], outputs[name].at[example, keys, key_head]) for name in sums)
    )


def bias_gradient(
    kernel: Kernel,
    numbers: Numbers,
    arrays: tuple[Array, ...],
    extra: Extra,
    *,
    interpret: bool,
) -> Array:
    """The gradient of the bias, summed over the axes along which it has length 1.

    A program loops over all tiles of weights to which its tile of the bias is added:
    the sum needs neither atomics nor a second pass.
    """
    query, key, value, change, *_ = arrays
    kernel = unit.narrowed(kernel, query.shape[3], 1)
    size, width = kernel.block
    shape = extra["bias"].shape
    sizes = query.shape[0], query.shape[2], *kernel.steps
    # A number for all queries and keys is a sum of numbers of queries, added up below.
    kept = [axis for axis in range(4) if shape[axis] > 1]
    whole = [axis for axis in kept if axis >= 2] or [2]
    axes = tuple(sorted({*kept, *whole}))
    lead = [sizes[axis] if axis in axes else 1 for axis in (0, 1)]
    rest = [sizes[axis] * kernel.block[axis - 2] for axis in whole]
    memory, sums = (unit.Memory(kernel, x.dtype) for x in (query, numbers.real))
    found: Array
    (found,) = unit.call(
        partial(_bias_gradient, kernel, tuple(extra), sizes, axes),
        math.prod(sizes[axis] for axis in axes),
        [*numbers, *arrays, *extra.values()],
        [tile.like(extra["bias"], (*lead, *rest), jnp.float32)],
        [
            *(memory.blocks(x, size, unit.SLOTS) for x in (query, change)),
            *(memory.blocks(x, width, unit.SLOTS) for x in (key, value)),
            *(unit.row(size, unit.SLOTS) for _ in range(_ROWS)),
            sums.matrix(size, width)
            if len(whole) == 2
            else unit.row(kernel.block[whole[0] - 2]),
            plgpu.Barrier(num_arrivals=4 + _ROWS, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    if not {2, 3} & {*kept}:
        found = found[..., : kernel.queries].sum(2, keepdims=True)
    ends = [found.shape[-1] if axis in kept else 1 for axis in (2, 3)]
    return found if len(whole) == 2 else found.reshape(*lead, *ends)


def _bias_gradient(
    kernel: Kernel,
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    axes: tuple[int, ...],
    *references: Any,
) -> None:
    numbers, inputs = references[:4], references[4 : 11 + len(names)]
    of_bias_at, *inside = references[11 + len(names) :]
    query_at, key_at, value_at, change_at, *rows_at = inputs[:7]
    query_in, change_in, key_in, value_in, *rest = inside
    *rows_in, sum_in, filled = rest
    extra = dict(zip(names, inputs[7:], strict=True))
    summed = [axis for axis in range(4) if axis not in axes]
    parts = unit.unravelled(unit.program(), tuple(sizes[axis] for axis in axes))
    own = dict(zip(axes, parts, strict=True))

    def place(index: Array) -> list[Array]:
        """The example, the head and the blocks of a step."""
        parts = unit.unravelled(index, tuple(sizes[axis] for axis in summed))
        at = own | dict(zip(summed, parts, strict=True))
        return [at[axis] for axis in range(4)]

    def fetch(index: Array, slot: Any) -> None:
        example, head, *blocks = place(index)
        arrays = query_at, change_at, *rows_at
        inside = [x.at[slot] for x in (query_in, change_in, *rows_in)]
        _fetch_queries(arrays, inside, (example, head, blocks[0]), filled.at[slot])
        key_head = lax.div(head, np.int32(kernel.group))
        pairs = (key_at, key_in), (value_at, value_in)
        unit.fetcher(kernel.block[1], (example, key_head), pairs, filled)(
            blocks[1], slot
        )

    def step(index: Array, slot: Array, total: Array) -> Array:
        example, head, *blocks = place(index)
        scalars = tile.scalars_of(numbers, example, head)
        firsts = (
            blocks[0] * np.int32(kernel.block[0]),
            blocks[1] * np.int32(kernel.block[1]),
        )
        tiles = unit.extra_of(extra, (example, head), firsts, kernel.block)
        products = (
            unit.product(query_in.at[slot], unit.transposed(key_in.at[slot])),
            unit.product(change_in.at[slot], unit.transposed(value_in.at[slot])),
        )
        rows = [unit.loaded(at.at[slot], 1) for at in rows_in]
        _, of_logits = _changes(kernel, scalars, firsts, products, rows, tiles, 1)
        return total + of_logits * scalars.inverse

    start = jnp.full(kernel.block, 0, jnp.float32)
    steps = np.int32(math.prod(sizes[axis] for axis in summed))
    total = unit.pipelined(np.int32(0), steps, fetch, filled, step, start)
    whole = [axis for axis in axes if axis >= 2]
    sum_in[...] = total if len(whole) == 2 else total.sum(3 - whole[0])
    at = [own.get(axis, np.int32(0)) for axis in (0, 1)]
    for axis in whole:
        length = kernel.block[axis - 2]
        at.append(pl.ds(own[axis] * np.int32(length), length))
    unit.copied_back((sum_in, of_bias_at.at[tuple(at)]))


def _changes(
    kernel: Kernel,
    scalars: Scalars,
    firsts: tuple[Array, Array],
    products: tuple[Array, Array | None],
    rows: list[Array],
    extra: Extra,
    keys_axis: int,
) -> tuple[Array, Array | None]:
    """The weights of a tile that survive, and the gradient of its logits.

    Both lack the factor ``scalars.inverse``.

    Args:
      kernel: the static facts about the call.
      scalars: the scalars of the head.
      firsts: the positions of the first query and key.
      products: of queries and keys, and of the gradients of outputs and values; or None
        for the latter, where the gradient of the logits is not wanted.
      rows: one number for each query, see :func:`_flash._rows`.
      extra: tiles of bias and mask, if given.
      keys_axis: the axis of the keys.
    """
    product, of_weights = products
    inverse, top, share = (unit.spread(x, product.shape, 1 - keys_axis) for x in rows)
    places = unit.places(*firsts, kernel.block, keys_axis=keys_axis)
    logits, attended = tile.logits_of(kernel, scalars, places, product, extra)
    weights = jnp.exp(logits - top) * inverse
    survives = tile.survives(kernel, scalars, places)
    kept = jnp.where(survives, weights, 0)
    if of_weights is None:
        return kept, None
    of_logits = weights * (jnp.where(survives, of_weights, 0) - share)
    if attended is not None:
        of_logits = jnp.where(attended, of_logits, 0)
    return kept, of_logits
