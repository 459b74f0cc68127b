"""Cutout: erasing squares of an image (DeVries and Taylor, 2017)."""

from functools import partial

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop import prng
from jaxdrop._checks import as_count, as_static, check_flag, require_key, select
from jaxdrop._errors import named
from jaxdrop._numbers import as_array
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key
from jaxdrop.inputs._boxes import (
    Layout,
    around,
    as_fill,
    covered,
    layout,
    positions,
    within_int32,
)


@named
def cutout(
    key: Key | None,
    x: Array,
    /,
    *,
    size: int | tuple[int, ...],
    num_holes: int = 1,
    fill: ArrayLike = 0.0,
    num_spatial_dims: int = 2,
    channel_axis: int = -1,
    deterministic: Flag = False,
) -> Array:
    """Erases squares at random places, so that a network cannot rely on a single part.

    The centre of a hole is uniform over the pixels, and holes are cut off at the
    border, as published; all channels lose the same pixels. Unlike in the authors' code
    an odd ``size`` is not rounded down.

    Usage:
      On standardized images in front of a network, with a side of a quarter to a half
      of that of the image.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: images or other maps, ``(*batch, *spatial, channels)``, of any dtype.
      size: the side of a hole, or one for each spatial axis. Static.
      num_holes: how many holes an example gets; they may overlap. Static.
      fill: the values in the holes; they broadcast against ``x``, whose dtype must
        hold them. 0 is the mean of standardized data.
      num_spatial_dims: how many axes a hole spans: 1, 2 or 3. They are the last ones
        other than ``channel_axis``; the axes before them are batch axes. Static.
      channel_axis: the axis of the channels. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``size``, ``num_holes`` or ``fill`` is out of range, a key is
        missing, or ``x`` has too few axes.
      TypeError: if ``size`` or ``num_holes`` is not an integer.

    References:
      DeVries, Taylor, `Improved regularization of convolutional neural networks with
      cutout <https://arxiv.org/abs/1708.04552>`_, 2017.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import inputs
      >>> x = jnp.ones((8, 32, 32, 3))
      >>> y = inputs.cutout(jax.random.key(0), x, size=16)
      >>> bool((y == y[..., :1]).all())  # the same pixels in all channels
      True
      >>> bool(((y == 0).sum(axis=(1, 2, 3)) <= 16 * 16 * 3).all())
      True
    """
    x = jnp.asarray(as_array(x, name="x"))
    images = layout(
        x.shape,
        num_spatial_dims=num_spatial_dims,
        channel_axis=channel_axis,
    )
    count, static = len(images.spatial), as_static(size)
    each = static if isinstance(static, tuple) else (static,) * count
    whole = partial(as_count, least=None, most=None)
    sizes = tuple(whole(side, name="size") for side in each)
    num_holes = whole(num_holes, name="num_holes")
    if len(sizes) != count or min(sizes) < 1 or num_holes < 1:
        raise ValueError(
            f"size must be {count} positive integers or one, and num_holes "
            f"positive; got {size} and {num_holes}."
        )
    num_holes = as_count(num_holes, name="num_holes")
    filling = as_fill(fill, x)
    flag = check_flag(deterministic)
    if flag is True:
        return x
    key = require_key(key, instead="deterministic=True")
    erased = _cutout(key, x, filling, images=images, sizes=sizes, num_holes=num_holes)
    return select(flag, x, erased)


@site(
    "jaxdrop.inputs.cutout",
    draws="noise",
    acts_on="inputs",
    static=("images", "sizes", "num_holes"),
)
def _cutout(
    key: Key,
    x: Array,
    fill: Array,
    *,
    images: Layout,
    sizes: tuple[int, ...],
    num_holes: int,
) -> Array:
    shares = prng.uniform(key, (len(sizes), num_holes, *images.batch_shape))
    centers = map(positions, shares, images.sides)
    starts, stops = zip(*map(around, centers, map(within_int32, sizes)), strict=True)
    holes = jnp.any(covered(images, starts, stops), axis=0)
    return jnp.where(holes, jnp.broadcast_to(fill, x.shape), x)
