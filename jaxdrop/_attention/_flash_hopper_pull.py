"""Gradients of queries, keys and values on Hopper GPUs, see :mod:`_flash_hopper`.

In the gradients of keys and values tiles are (keys, queries), so that the left operand
of each product is in shared memory or is a tile in registers.
"""

from collections.abc import Callable
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

ROWS = 3  # numbers for each query, see _flash._rows

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
    """The gradient of all queries: a program for each block of them."""
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
            *(memory.blocks(x, size, 1) for x in (query, change)),
            *(memory.blocks(x, width, unit.SLOTS) for x in (key, value)),
            memory.matrix(size, width),
            *(unit.row(size, 1) for _ in range(ROWS)),
            plgpu.Barrier(num_arrivals=2 + ROWS, num_barriers=1),
            plgpu.Barrier(num_arrivals=2, num_barriers=unit.SLOTS),
        ],
        interpret,
    )
    gradient: Array = found
    return gradient


def _to_queries(
    kernel: Kernel, sizes: tuple[int, int], names: tuple[str, ...], *references: Any
) -> None:
    """The gradient of one block of queries, over the keys that it sees."""
    numbers, inputs, extra, references = unit.parts_of(references, 4 + ROWS, names)
    query_at, key_at, value_at, change_at, *rows_at = inputs
    of_query_at, query_in, change_in, key_in, value_in, tile_in, *rest = references
    *rows_in, arrived, filled = rest
    size, width = kernel.block
    example, head, block = unit.ids(*sizes)
    key_head = lax.div(head, np.int32(kernel.group))
    scalars = tile.scalars_of(numbers, example, head)
    first_query = block * np.int32(size)
    arrays, inside = (query_at, change_at, *rows_at), (query_in, change_in, *rows_in)
    queries_fetcher(arrays, inside, arrived)((example, head, block), 0)
    plgpu.barrier_wait(arrived.at[0])
    query_in, change_in, *rows_in = (x.at[0] for x in inside)
    rows = [unit.loaded(at, 1) for at in rows_in]

    def step(index: Array, slot: Array, gradient: Array) -> Array:
        firsts = first_query, index * np.int32(width)
        tiles = unit.extra_of(extra, (example, head), firsts, kernel.block)
        key = key_in.at[slot]
        products = (
            unit.product(query_in, unit.transposed(key)),
            unit.product(change_in, unit.transposed(value_in.at[slot])),
        )
        _, of_logits = changes(kernel, scalars, firsts, products, rows, tiles, 1)
        return gradient + unit.product(unit.staged(of_logits, tile_in), key)

    first, last = tile.keys_seen(kernel, scalars, first_query)
    start = jnp.full(query_in.shape, 0, jnp.float32)
    pairs = (key_at, key_in), (value_at, value_in)
    fetch = unit.fetcher(width, (example, key_head), pairs, filled)
    gradient = unit.pipelined(first, last, fetch, filled, step, start)
    query_in[...] = (gradient * scalars.factor).astype(query_in.dtype)
    queries = pl.ds(first_query, size)
    unit.copied_back((query_in, of_query_at.at[example, queries, head]))


def queries_fetcher(
    arrays: tuple[Any, ...], inside: tuple[Any, ...], filled: Any
) -> Callable[[tuple[Any, ...], Any], None]:
    """Starts the copies of a block of queries, of gradients, and of their numbers.

    Args:
      arrays: queries, gradients of outputs, and numbers of queries in main memory.
      inside: slots for them in shared memory.
      filled: the barriers of the slots.

    Returns:
      A function of the example, the head and the block, and of the slot.
    """

    def fetch(place: tuple[Any, ...], slot: Any) -> None:
        example, head, block = place
        size = inside[0].shape[1]
        queries = pl.ds(block * np.int32(size), size)
        for number, (at, slots) in enumerate(zip(arrays, inside, strict=True)):
            middle = (queries, head) if number < 2 else (head, queries)
            part = at.at[(example, *middle)]
            plgpu.copy_gmem_to_smem(part, slots.at[slot], filled.at[slot])

    return fetch


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
            *(unit.row(size, unit.SLOTS) for _ in range(ROWS)),
            plgpu.Barrier(num_arrivals=2),
            plgpu.Barrier(num_arrivals=2 + ROWS, num_barriers=unit.SLOTS),
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
    """The wanted gradients of one block of keys, over heads and queries that see it."""
    numbers, inputs, extra, references = unit.parts_of(references, 4 + ROWS, names)
    query_at, key_at, value_at, change_at, *rows_at = inputs
    outputs = dict(zip(wanted, references, strict=False))
    key_in, value_in, query_in, change_in, *rest = references[len(wanted) :]
    tiles_in = dict(zip(wanted, rest, strict=False))
    *rows_in, arrived, filled = rest[len(wanted) :]
    size, width = kernel.block
    example, key_head, block = unit.ids(*sizes)
    first_head = key_head * np.int32(kernel.group)
    first_key = block * np.int32(width)
    part = example, pl.ds(first_key, width), key_head
    for at, copied in ((key_at, key_in), (value_at, value_in)):
        plgpu.copy_gmem_to_smem(at.at[part], copied, arrived)
    plgpu.barrier_wait(arrived)
    scalars = tile.scalars_of(numbers, example, first_head)
    first, last = tile.queries_seeing(kernel, scalars, first_key)
    count = jnp.maximum(last - first, np.int32(1))

    def place(index: Array) -> tuple[Array, Array, Array]:
        """The example, the head and the block of queries of a step."""
        head = first_head + lax.div(index, count)
        return example, head, first + lax.rem(index, count)

    arrays, inside = (query_at, change_at, *rows_at), (query_in, change_in, *rows_in)
    copy = queries_fetcher(arrays, inside, filled)
    fetch = lambda index, slot: copy(place(index), slot)

    def step(index: Array, slot: Array, sums: dict[str, Array]) -> dict[str, Array]:
        _, head, block = place(index)
        own = tile.scalars_of(numbers, example, head)
        firsts = block * np.int32(size), first_key
        tiles = unit.extra_of(extra, (example, head), firsts[::-1], (width, size))
        query, change = query_in.at[slot], change_in.at[slot]
        product = unit.product(key_in, unit.transposed(query))
        needs_both = "key" in wanted
        other = unit.product(value_in, unit.transposed(change)) if needs_both else None
        rows = [unit.loaded(at.at[slot], 0) for at in rows_in]
        products = product, other
        kept, of_logits = changes(kernel, own, firsts, products, rows, tiles, 0)
        added = {"key": (of_logits, query), "value": (kept, change)}
        return {
            name: sums[name] + unit.product(unit.staged(left, tiles_in[name]), right)
            for name, (left, right) in added.items()
            if name in wanted
        }

    start = {name: jnp.full(key_in.shape, 0, jnp.float32) for name in wanted}
    steps = np.int32(kernel.group) * jnp.maximum(last - first, np.int32(0))
    sums = unit.pipelined(np.int32(0), steps, fetch, filled, step, start)
    results = {"key": (key_in, scalars.factor), "value": (value_in, scalars.inverse)}
    for name, total in sums.items():
        result, factor = results[name]
        result[...] = (total * factor).astype(result.dtype)
    unit.copied_back(*((results[name][0], outputs[name].at[part]) for name in wanted))


def changes(
    kernel: Kernel,
    scalars: Scalars,
    firsts: tuple[Array, Array],
    products: tuple[Array, Array | None],
    rows: list[Array],
    extra: Extra,
    keys_axis: int,
) -> tuple[Array, Any]:
    """The weights of a tile that survive, and the gradient of its logits, if wanted.

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
