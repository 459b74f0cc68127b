"""The gradient of a bias on Hopper GPUs, see :mod:`_flash_hopper`."""

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
from jaxdrop._attention._flash_hopper_pull import ROWS, Extra, changes, queries_fetcher
from jaxdrop._attention._flash_tile import Kernel, Numbers
from jaxdrop._typing import Array


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
            *(unit.row(size, unit.SLOTS) for _ in range(ROWS)),
            sums.matrix(size, width)
            if len(whole) == 2
            else unit.row(kernel.block[whole[0] - 2]),
            plgpu.Barrier(num_arrivals=4 + ROWS, num_barriers=unit.SLOTS),
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
    """The gradient of one block of a bias, summed over the axes that it shares."""
    numbers, inputs, extra, references = unit.parts_of(references, 4 + ROWS, names)
    query_at, key_at, value_at, change_at, *rows_at = inputs
    of_bias_at, query_in, change_in, key_in, value_in, *rest = references
    *rows_in, sum_in, filled = rest
    size, width = kernel.block
    summed = [axis for axis in range(4) if axis not in axes]
    parts = unit.unravelled(unit.program(), tuple(sizes[axis] for axis in axes))
    own = dict(zip(axes, parts, strict=True))

    def place(index: Array) -> list[Array]:
        """The example, the head and the blocks of a step."""
        parts = unit.unravelled(index, tuple(sizes[axis] for axis in summed))
        at = own | dict(zip(summed, parts, strict=True))
        return [at[axis] for axis in range(4)]

    arrays, inside = (query_at, change_at, *rows_at), (query_in, change_in, *rows_in)
    copy_queries = queries_fetcher(arrays, inside, filled)
    pairs = (key_at, key_in), (value_at, value_in)

    def fetch(index: Array, slot: Any) -> None:
        example, head, *blocks = place(index)
        copy_queries((example, head, blocks[0]), slot)
        key_head = lax.div(head, np.int32(kernel.group))
        copy = unit.fetcher(width, (example, key_head), pairs, filled)
        copy(blocks[1], slot)

    def step(index: Array, slot: Array, total: Array) -> Array:
        example, head, *blocks = place(index)
        scalars = tile.scalars_of(numbers, example, head)
        firsts = blocks[0] * np.int32(size), blocks[1] * np.int32(width)
        tiles = unit.extra_of(extra, (example, head), firsts, kernel.block)
        products = (
            unit.product(query_in.at[slot], unit.transposed(key_in.at[slot])),
            unit.product(change_in.at[slot], unit.transposed(value_in.at[slot])),
        )
        rows = [unit.loaded(at.at[slot], 1) for at in rows_in]
        _, of_logits = changes(kernel, scalars, firsts, products, rows, tiles, 1)
        return total + of_logits * scalars.inverse

    start = jnp.full(kernel.block, 0, jnp.float32)
    steps = np.int32(math.prod(sizes[axis] for axis in summed))
    total = unit.pipelined(np.int32(0), steps, fetch, filled, step, start)
    whole = [axis for axis in axes if axis >= 2]
    sum_in[...] = total if len(whole) == 2 else total.sum(3 - whole[0])
    at: list[Any] = [own.get(axis, np.int32(0)) for axis in (0, 1)]
    for axis in whole:
        length = kernel.block[axis - 2]
        at.append(pl.ds(own[axis] * np.int32(length), length))
    unit.copied_back((sum_in, of_bias_at.at[tuple(at)]))
