"""Block specifications of GPU kernels: the part of an array that a program reads."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from jaxdrop._attention import _flash_tile as tile
from jaxdrop._attention._flash_tile import Kernel, Scalars
from jaxdrop._typing import Array


class Head(NamedTuple):
    """One head of one example, inside a kernel."""

    example: Array
    head: Array
    scalars: Scalars
    extra: dict[str, Any]


def part(reference: Any, first: Array, size: int) -> Array:
    part: Array = reference[pl.ds(first, size)]
    return part


def whole(x: Any) -> pl.BlockSpec:
    return pl.BlockSpec(x.shape, lambda *_: (0,) * len(x.shape))


def block(x: Any, size: int) -> pl.BlockSpec:
    """One block of one head."""
    shape = (None, size, None, x.shape[3])
    return pl.BlockSpec(shape, lambda b, h, i: (b, i, h, 0))


def head(x: Any, group: int) -> pl.BlockSpec:
    """The whole key head that ``group`` query heads of the grid share."""
    shape = (None, x.shape[1], None, x.shape[3])
    return pl.BlockSpec(shape, lambda b, h, i: (b, 0, lax.div(h, np.int32(group)), 0))


def heads(x: Any, group: int) -> pl.BlockSpec:
    """The whole of the ``group`` query heads of one key head."""
    shape = (None, x.shape[1], group, x.shape[3])
    return pl.BlockSpec(shape, lambda b, h, i: (b, 0, h, 0))


def row_block(size: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, None, size), lambda b, h, i: (b, h, i))


def row_heads(x: Any, group: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, group, x.shape[2]), lambda b, h, i: (b, h, 0))


def head_of(
    numbers: Any, names: tuple[str, ...], extra: Any, example: Array, head: Array
) -> Head:
    scalars = tile.scalars_of(numbers, example, head)
    return Head(example, head, scalars, dict(zip(names, extra, strict=True)))


def extra_of(
    kernel: Kernel, head: Head, first_query: Array, first_key: Array
) -> dict[str, Array]:
    """Tiles of bias and mask, (queries, keys) or of length 1."""
    tiles = {}
    for name, at in head.extra.items():
        places: list[Any] = [head.example, head.head]
        for size, whole, first in zip(
            kernel.block, at.shape[2:], (first_query, first_key), strict=True
        ):
            places.append(pl.ds(first, size) if whole > 1 else pl.ds(0, 1))
        for axis in (0, 1):
            if at.shape[axis] == 1:
                places[axis] = 0
        tiles[name] = at[tuple(places)].astype(jnp.float32)
    return tiles
