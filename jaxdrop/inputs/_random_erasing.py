"""Random erasing: boxes of random size and shape (Zhong et al., 2020)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_choice,
    check_inexact,
    check_rate,
    check_real,
    is_identity,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._numbers import as_known
from jaxdrop._sites import site
from jaxdrop._typing import Array, ArrayLike, Flag, Key, Rate
from jaxdrop.inputs._boxes import (
    Layout,
    as_fill,
    covered,
    layout,
    positions,
)

_NUM_ATTEMPTS = 10


@named
def random_erasing(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    fill: ArrayLike | str = "normal",
    channel_axis: int = -1,
    deterministic: Flag = False,
) -> Array:
    """Erases one box of random size, shape and place in some of the images.

    It differs from the paper in two ways. Ratios are uniform on a logarithmic scale, so
    that tall boxes are as frequent as wide ones. And where the paper draws until a box
    fits into the image, here ten boxes are drawn at once and the first that fits is
    used; if none fits, as in narrow images, the first box keeps its area and gets the
    nearest ratio with which it fits. A box has at least one pixel.

    Usage:
      On images in front of a network, at a rate of 0.25 to 0.5.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: images, floating point, ``(*batch, height, width, channels)``.
      rate: the probability that an image loses a box, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      area: the smallest and largest share of an image that a box covers. Static.
      aspect: the smallest and largest ratio of height to width. Static.
      fill: ``"normal"`` for new noise N(0, 1) in each entry, or numbers that broadcast
        against ``x``.
      channel_axis: the axis of the channels. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate``, ``area`` or ``aspect`` is out of range, ``fill`` does not
        broadcast, a key is missing, or ``x`` has too few axes.
      TypeError: if ``x`` is not real floating point, or ``rate`` is not a number.

    References:
      Zhong, Zheng, Kang, Li, Yang, `Random erasing data augmentation
      <https://arxiv.org/abs/1708.04896>`_, AAAI 2020.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import inputs
      >>> x = jnp.ones((8, 32, 32, 3))
      >>> y = inputs.random_erasing(jax.random.key(0), x, rate=1.0, fill=0.0)
      >>> share = (y == 0).mean(axis=(1, 2, 3))
      >>> bool((share > 0.01).all()), bool((share < 0.45).all())
      (True, True)
    """
    check_rate(rate)
    x = check_inexact(x)
    check_real(x)
    if isinstance(fill, str):
        check_choice(fill, ("normal",), name="fill")
    else:
        fill = as_fill(fill, x)
    knobs: dict[str, Any] = {
        "images": layout(x.shape, num_spatial_dims=2, channel_axis=channel_axis),
        "area": _limits(area, most=1, name="area"),
        "aspect": _limits(aspect, most=float(np.finfo(np.float32).max), name="aspect"),
    }
    if is_identity(rate, deterministic):
        return x
    key = require_key(key, instead="deterministic=True")
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    noise = None if isinstance(fill, str) else fill
    return _random_erasing(key, x, keep, noise, **knobs)


def _limits(limits: Any, /, *, most: float, name: str) -> tuple[float, float]:
    """The smallest and the largest of a pair, or raises naming the argument."""
    try:
        first, last = limits
    except (TypeError, ValueError):  # not a pair
        first, last = 0.0, 0.0
    low, high = as_known(first, name=name), as_known(last, name=name)
    if not 0 < low <= high <= most:
        raise ValueError(
            f"{name} must be two numbers in (0, {most:g}], the smaller first, got "
            f"{limits!r}."
        )
    return low, high


@site(
    "jaxdrop.inputs.random_erasing",
    draws="mask",
    acts_on="inputs",
    static=("images", "area", "aspect"),
)
def _random_erasing(
    key: Key,
    x: Array,
    keep: Any,
    fill: ArrayLike | None,
    *,
    images: Layout,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Array:
    which, where, noise = jax.random.split(key, 3)
    starts, stops = _first_that_fits(where, images, area=area, aspect=aspect)
    untouched = _masks.draw(which, images.batch_shape, keep=keep)
    stops = [jnp.where(untouched, 0, stop) for stop in stops]
    if fill is None:
        new = prng.normal(noise, x.shape, out_sharding=_masks.sharding_of(x))
    else:
        new = jnp.broadcast_to(fill, x.shape)
    holes = covered(images, starts, stops)

    @_masks.fenced
    def erase(x: Array, new: Array) -> Array:
        erased = jnp.where(holes, new.astype(x.dtype), x)
        return jnp.where(jnp.isnan(jnp.asarray(keep)), jnp.nan, erased)

    return erase(x, new)


def _first_that_fits(
    key: Key,
    images: Layout,
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tuple[list[Array], list[Array]]:
    """Draws several boxes for each image, and selects the first that fits."""
    shares = prng.uniform(key, (4, _NUM_ATTEMPTS, *images.batch_shape))
    area_shares = area[0] + shares[0] * (area[1] - area[0])
    low, high = math.log(aspect[0]), math.log(aspect[1])
    ratio = jnp.exp(low + shares[1] * (high - low))
    sides = _sides(images, area_shares, ratio)
    fits = jnp.ones((), bool)
    for side, length in zip(sides, images.sides, strict=True):
        fits = fits & (side <= length)
    first = jnp.argmax(fits, axis=0, keepdims=True)
    fitted = _sides(images, area_shares, _nearest_that_fits(images, area_shares, ratio))
    starts, stops = [], []
    for side, near, length, share in zip(
        sides, fitted, images.sides, shares[2:], strict=True
    ):
        extent = jnp.where(fits, side, jnp.minimum(near, length))
        start = positions(share, length - extent + 1)
        starts.append(jnp.take_along_axis(start, first, axis=0)[0])
        extent = jnp.take_along_axis(extent, first, axis=0)[0]
        stops.append(starts[-1] + extent)
    return starts, stops


def _sides(images: Layout, area: Array, ratio: Array) -> list[Array]:
    """Height and width of a box, at least one pixel, from its share and its ratio."""
    height, width = (jnp.asarray(side, area.dtype) for side in images.sides)
    pixels = height * width * area  # in floating point: int32 might overflow
    return [
        jnp.maximum(jnp.round(jnp.sqrt(side)), 1).astype(jnp.int32)
        for side in (pixels * ratio, pixels / ratio)
    ]


def _nearest_that_fits(images: Layout, area: Array, ratio: Array) -> Array:
    """The nearest ratio at which neither side is longer than the image."""
    height, width = (jnp.asarray(side, area.dtype) for side in images.sides)
    shape = height / width
    return jnp.clip(ratio, shape * area, shape / area)
