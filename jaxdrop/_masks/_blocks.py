"""Masks of contiguous blocks, for DropBlock (Ghiasi et al., 2018)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxdrop._checks import (
    as_index,
    as_static,
    check_axis,
    check_choice,
    check_rate,
    check_shape,
    check_sharding,
    check_switch,
    is_number,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._masks._axes import spatial_axes, unspread
from jaxdrop._masks._draw import RARE, draw, keep_probability
from jaxdrop._typing import Array, Axes, Key, Rate


class Blocks(NamedTuple):
    """How blocks lie in an array: what :func:`layout_blocks` makes of the knobs.

    Attributes:
      spatial: the axes a block spans.
      sides: how far it reaches along each.
      channel: the axis of the channels.
      shared_channels: whether all channels share their blocks.
      seeds: where blocks may start, ``"padded"`` or ``"valid"``.
    """

    spatial: Axes
    sides: tuple[int, ...]
    channel: int
    shared_channels: bool
    seeds: str


class Seeds(NamedTuple):
    """How probable the start of a block is at a position.

    Attributes:
      keep: the probability that none starts, a number or an array.
      drop: the probability that one does, where it may be so small that ``keep`` is
        not distinguished from 1; else None.
    """

    keep: Any
    drop: Any


@named
def blocks(
    key: Key,
    shape: tuple[int, ...],
    /,
    *,
    rate: Rate,
    block_size: int | Sequence[int] = 7,
    num_spatial_dims: int | None = None,
    channel_axis: int = -1,
    shared_channels: bool = False,
    seeds: str = "padded",
    out_sharding: Any = None,
) -> Array:
    """Drops contiguous blocks, so that an entry is in one with probability ``rate``.

    The options are those of :func:`jaxdrop.drop_block`.

    Args:
      key: a PRNG key.
      shape: ``(*batch, *spatial, channels)``, of the array to be masked. Static.
      rate: the probability of dropping an entry, a scalar. A traced rate outside
        [0, 1] keeps everything.
      block_size: the sides of a block: one number, or one for each spatial axis.
        Static.
      num_spatial_dims: how many axes a block spans: 1, 2 or 3; by default 2, for shapes
        of four axes. Static.
      channel_axis: the axis of the channels. Static.
      shared_channels: drop the same blocks in all channels of an example. Static.
      seeds: ``"padded"``, exact everywhere; or ``"valid"``, the paper's. Static.
      out_sharding: the sharding of the mask on an explicit mesh. Static.

    Returns:
      A boolean mask of the given shape, of length 1 along shared channels.

    Raises:
      ValueError: if ``rate``, ``block_size`` or ``seeds`` are out of range, or
        ``shape`` has too few axes.

    Examples:
      >>> import jax, jaxdrop
      >>> mask = jaxdrop.masks.blocks(
      ...     jax.random.key(0), (8, 14, 14, 32), rate=0.1, shared_channels=True
      ... )
      >>> mask.shape
      (8, 14, 14, 1)
    """
    check_rate(rate)
    shape = check_shape(shape)
    layout = layout_blocks(
        shape,
        block_size=block_size,
        num_spatial_dims=num_spatial_dims,
        channel_axis=channel_axis,
        shared_channels=shared_channels,
        seeds=seeds,
    )
    check_sharding(out_sharding)
    key = require_key(key, instead="")
    keep_seed = seed_survival(keep_probability(rate), shape, layout)
    return draw_blocks(
        key, shape, layout, keep_seed=keep_seed, out_sharding=out_sharding
    )


def layout_blocks(
    shape: tuple[int, ...],
    /,
    *,
    block_size: int | Sequence[int],
    num_spatial_dims: int | None,
    channel_axis: int,
    shared_channels: bool,
    seeds: str,
) -> Blocks:
    """Checks the knobs against a shape, and says which axes and sides they mean.

    Raises:
      ValueError: if there are too few axes, a side is not a positive integer, there are
        more or fewer sides than spatial axes, or valid blocks do not fit.
    """
    check_choice(seeds, ("padded", "valid"), name="seeds")
    spatial = spatial_axes(
        shape,
        num_spatial_dims=num_spatial_dims,
        channel_axis=channel_axis,
    )
    sides = _sides(block_size, len(spatial))
    room = tuple(shape[axis] for axis in spatial)
    if seeds == "valid" and any(a > b for a, b in zip(sides, room, strict=True)):
        raise ValueError(
            f'with seeds="valid" a block must fit into the map, and {sides} '
            f'does not fit into {room}; use a smaller block_size or seeds="padded".'
        )
    channel = check_axis(channel_axis, len(shape), name="channel_axis")
    shared = check_switch(shared_channels, name="shared_channels")
    return Blocks(spatial, sides, channel, shared, seeds)


def seed_survival(keep: Any, shape: tuple[int, ...], layout: Blocks, /) -> Seeds:
    """The probability that no block starts at a position.

    With padded seeds every entry is in the reach of as many seeds as a block has
    entries, and survives if all of them do. With valid seeds it is the paper's
    ``1 - gamma``, kept in [0, 1], and 0 where nothing is to be kept.

    Args:
      keep: a number or an array, from :func:`keep_probability`.
      shape: of the array to be masked.
      layout: from :func:`layout_blocks`.

    Returns:
      Numbers or arrays like ``keep``; NaN where ``keep`` is NaN.
    """
    volume = math.prod(layout.sides)
    if layout.seeds == "padded":
        root = keep ** (1 / volume)
        if volume == 1:
            return Seeds(root, None)
        if not is_number(keep):
            logarithm = jnp.log(jnp.where(keep == 0, 1, keep))
            return Seeds(root, jnp.where(keep == 0, 1, -jnp.expm1(logarithm / volume)))
        drop = -math.expm1(math.log(keep) / volume) if keep else 1.0
        return Seeds(root, drop if drop < RARE else None)
    room = [shape[axis] for axis in layout.spatial]
    starts = [size - side + 1 for size, side in zip(room, layout.sides, strict=True)]
    ratio = math.prod(room) / (volume * math.prod(starts))
    drop = ratio * (1 - keep)
    if is_number(keep):
        survival = max(0.0, 1 - drop) if keep else 0.0
        return Seeds(survival, drop if drop < RARE else None)
    return Seeds(jnp.where(keep == 0, 0, jnp.maximum(0, 1 - drop)), drop)


def draw_blocks(
    key: Key,
    shape: tuple[int, ...],
    layout: Blocks,
    /,
    *,
    keep_seed: Seeds,
    out_sharding: Any = None,
) -> Array:
    """:func:`blocks`, from the output of :func:`seed_survival`.

    On an explicit mesh a device draws whole maps: blocks reach over borders of parts.
    """
    padded = layout.seeds == "padded"
    starts = list(shape)
    for axis, side in zip(layout.spatial, layout.sides, strict=True):
        starts[axis] += side - 1 if padded else 1 - side
    shared = (layout.channel,) if layout.shared_channels else ()
    mask = draw(
        key,
        tuple(starts),
        keep=keep_seed.keep,
        rare=keep_seed.drop,
        broadcast_dims=shared,
        out_sharding=unspread(out_sharding, layout.spatial, ndim=len(shape)),
    )
    for axis, side in zip(layout.spatial, layout.sides, strict=True):
        mask = _erode(mask, axis, side, reach=0 if padded else side - 1)
    if out_sharding is None:
        return mask
    whole = unspread(out_sharding, shared, ndim=len(shape))
    return jax.sharding.reshard(mask, whole)


def _erode(mask: Array, axis: int, side: int, *, reach: int) -> Array:
    """Keeps an entry if all of the ``side`` entries in its window are kept."""
    window = [side if other == axis else 1 for other in range(mask.ndim)]
    padding = [
        (reach, reach) if axis == other else (0, 0) for other in range(mask.ndim)
    ]
    return lax.reduce_window(
        mask, True, lax.bitwise_and, window, (1,) * mask.ndim, padding
    )


def _sides(block_size: int | Sequence[int], count: int, /) -> tuple[int, ...]:
    each = as_static(block_size)
    given = each if isinstance(each, tuple) else (each,) * count
    try:
        sides = tuple(map(as_index, given))
    except TypeError:
        sides = ()
    if len(sides) != count or min(sides) < 1:
        raise ValueError(
            f"block_size must be a positive integer, or {count} of them, one for each "
            f"spatial axis, got {block_size!r}."
        )
    if max(sides) >= 2**31:
        raise ValueError(f"block_size must be below 2**31, got {block_size!r}.")
    return sides
