"""Boxes in images: their places, and the pixels that they cover."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxdrop import _masks
from jaxdrop._checks import check_axis
from jaxdrop._numbers import as_array, as_host, as_numbers
from jaxdrop._typing import Array, Axes


class Layout(NamedTuple):
    """The roles of the axes of a batch of images.

    Attributes:
      shape: the shape of the whole array.
      spatial: the axes that a box spans.
      batch: the batch axes; each of their entries has its own box.
    """

    shape: tuple[int, ...]
    spatial: Axes
    batch: Axes

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The lengths of the batch axes."""
        return tuple(self.shape[axis] for axis in self.batch)

    @property
    def sides(self) -> tuple[int, ...]:
        """The lengths of the spatial axes."""
        return tuple(self.shape[axis] for axis in self.spatial)


def layout(
    shape: tuple[int, ...], /, *, num_spatial_dims: int, channel_axis: int
) -> Layout:
    """Splits axes into spatial and batch axes, like :func:`jaxdrop.spatial_dropout`."""
    spatial = _masks.spatial_axes(
        shape,
        num_spatial_dims=num_spatial_dims,
        channel_axis=channel_axis,
    )
    channel = check_axis(channel_axis, len(shape), name="channel_axis")
    others = {*spatial, channel}
    batch = tuple(axis for axis in range(len(shape)) if axis not in others)
    return Layout(shape, spatial, batch)


def as_fill(fill: ArrayLike, x: Array, /) -> Array:
    """Returns ``fill`` in the dtype of ``x``, or raises.

    It must broadcast against ``x``, whose dtype must hold it.
    """
    name = "fill"
    values: Any = as_numbers(fill, name)
    if jnp.iscomplexobj(values) and not jnp.iscomplexobj(x):
        raise TypeError(
            f"fill must hold real numbers like x, whose dtype is {x.dtype}, got an "
            f"array of {values.dtype}."
        )
    if not isinstance(values, jax.Array):
        whole = jnp.issubdtype(x.dtype, jnp.integer)
        values = as_host(values, name) if whole else as_array(values, name=name)
    shape = values.shape
    sides = zip(shape[::-1], x.shape[::-1], strict=False)  # fill may have fewer axes
    if len(shape) > x.ndim or any(side not in (1, full) for side, full in sides):
        raise ValueError(
            f"fill of shape {shape} does not broadcast against x of shape {x.shape}."
        )
    if isinstance(values, np.ndarray):
        _check_held(values, x)
        values = jnp.asarray(values.astype(x.dtype))
    filling: Array = values.astype(x.dtype)
    return filling


def _check_held(values: np.ndarray, x: Array) -> None:
    """Raises unless the dtype of ``x`` holds the numbers of a fill."""
    limits: Any
    if jnp.issubdtype(x.dtype, jnp.integer):
        limits, kind = np.iinfo(x.dtype), "whole numbers"
        with np.errstate(invalid="ignore"):  # infinity % 1 is invalid
            whole = values % 1 == 0
        held = (values >= limits.min) & (values <= limits.max) & whole
    elif jnp.issubdtype(x.dtype, jnp.floating):
        limits, kind = jnp.finfo(x.dtype), "numbers"
        wide = values.astype(np.float64)
        held = ~np.isfinite(wide) | (np.abs(wide) <= float(limits.max))
    else:
        return
    if not np.all(held):
        raise ValueError(
            f"fill must be {kind} in [{limits.min}, {limits.max}], which x of "
            f"{x.dtype} can hold, got {values}."
        )


def covered(
    images: Layout, starts: Sequence[Array], stops: Sequence[Array], /
) -> Array:
    """Marks the pixels that lie in a box.

    Args:
      images: the layout of the images.
      starts: for each spatial axis, the first covered positions, ``(*batch,)``, or
        ``(*boxes, *batch)`` for several boxes in each image.
      stops: the positions after the last covered ones, likewise.

    Returns:
      A boolean array ``(*boxes, ...)`` whose last axes broadcast to the images.
    """
    inside = jnp.ones((), bool)
    for axis, start, stop in zip(images.spatial, starts, stops, strict=True):
        line = [1] * len(images.shape)
        line[axis] = images.shape[axis]
        position = lax.broadcasted_iota(jnp.int32, tuple(line), axis)
        first, last = _over_images(images, start), _over_images(images, stop)
        position = _masks.at_rank(position, first.ndim)
        here = (position >= first) & (position < last)
        inside = _masks.at_rank(inside, here.ndim)
        inside = inside & here
    return inside


def around(center: Array, side: Array | int, /) -> tuple[Array, Array]:
    """The first position of an interval around a pixel, and the one after its last."""
    start = center - side // 2
    return start, start + side


def within_int32(side: int, /) -> int:
    """A side that can be added to a position in int32; longer ones cover any image."""
    return min(side, 2**30)


def positions(share: Array, count: Array | int, /) -> Array:
    """Uniform integers below ``count``, from uniform numbers below 1."""
    return jnp.floor(share * jnp.asarray(count).astype(jnp.float32)).astype(jnp.int32)


def _over_images(images: Layout, per_image: Array) -> Array:
    """Numbers ``(*front, *batch)`` reshaped to broadcast against the images."""
    front = per_image.shape[: per_image.ndim - len(images.batch)]
    whole = [
        images.shape[axis] if axis in images.batch else 1
        for axis in range(len(images.shape))
    ]
    return per_image.reshape(*front, *whole)
