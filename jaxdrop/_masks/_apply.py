"""Applying masks: the one place that scales."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._checks import check_broadcast, check_inexact, check_switch
from jaxdrop._errors import named
from jaxdrop._masks._axes import at_rank
from jaxdrop._masks._noisy import noisy
from jaxdrop._numbers import as_real
from jaxdrop._typing import Array

SELU_SATURATION = -1.7580993408473766
"""What SELU tends to at minus infinity, ``-scale * alpha`` (Klambauer et al., 2017)."""


@named
def apply(x: Array, mask: Array, /, *, keep: Any, scale: bool = True) -> Array:
    """Zeroes what ``mask`` drops, and divides what it keeps by ``keep``.

    Entries are selected, never multiplied by the mask: an inf or NaN that is dropped is
    0, in value and gradient. The division is done in float32, or in x's dtype where
    that is wider, and rounded once. For the backward pass the mask is kept as it was
    drawn: small where it is shared along axes.

    Args:
      x: the data, floating point or complex.
      mask: a boolean mask that broadcasts to x's shape; ``True`` is kept.
      keep: the probability of keeping, or the share kept, a scalar or an array that
        broadcasts to x's shape. 1 gives ``x`` bit for bit, and NaN all NaN.
      scale: whether to divide at all. Static.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``mask`` or ``keep`` does not broadcast to the shape of ``x``.
      TypeError: if ``x`` is not floating point or complex, ``mask`` not numbers, or
        ``keep`` not real.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> mask = jnp.array([True, False, True])
      >>> jaxdrop.masks.apply(jnp.array([1.0, jnp.inf, 3.0]), mask, keep=0.5).tolist()
      [2.0, 0.0, 6.0]
    """
    x = check_inexact(x)
    share = as_real(keep, name="keep")
    kept = jnp.asarray(as_real(mask, name="mask"))
    check_broadcast(kept.shape, x.shape, name="mask", of="x")
    check_broadcast(np.shape(share), x.shape, name="keep", of="x")
    divisor = jnp.asarray(share, real_dtype(x))
    if not check_switch(scale, name="scale"):
        divisor = jnp.where(jnp.isnan(divisor), divisor, 1)
    return _apply(x, kept, divisor)


def kept_share(x: Array, mask: Array, divisor: Array) -> Array:
    """What :func:`apply` computes, for functions that are :func:`noisy` as a whole."""
    kept = _divided(x, divisor)
    return jnp.where(at_rank(mask, x.ndim), kept, jnp.zeros((), x.dtype))


def _kept_share(x: Array, mask: Array, divisor: Array) -> Array:
    """:func:`kept_share` with its operations in the order of that one's transpose."""
    kept = jnp.where(at_rank(mask, x.ndim), x, jnp.zeros((), x.dtype))
    return _divided(kept, divisor)


_apply = noisy(_kept_share, slope=kept_share)


def _divided(x: Array, divisor: Array) -> Array:
    divisor = at_rank(divisor, x.ndim)
    wide = x.astype(wide_dtype(x))
    scaled = wide / jnp.where(divisor == 0, 1, divisor).astype(wide.dtype)
    untouched = divisor == 1  # x / 1 would flush denormals
    return jnp.where(untouched, x, scaled.astype(x.dtype))


def apply_alpha(x: Array, mask: Array, /, *, keep: Any) -> Array:
    """Sets what ``mask`` drops to SELU's saturation, and restores mean and variance.

    Args:
      x: the data, floating point.
      mask: a boolean mask that broadcasts to x's shape; ``True`` is kept.
      keep: as in :func:`apply`. At 0 the output is 0, the limit of the formula.

    Returns:
      An array with the shape and dtype of ``x``.

    References:
      Klambauer, Unterthiner, Mayr, Hochreiter, `Self-normalizing neural networks
      <https://arxiv.org/abs/1706.02515>`_, NeurIPS 2017.
    """
    return _apply_alpha(x, mask, jnp.asarray(keep, real_dtype(x)))


@noisy
def _apply_alpha(x: Array, mask: Array, keep: Array) -> Array:
    mask, keep = at_rank(mask, x.ndim), at_rank(keep, x.ndim)
    safe = jnp.where(keep == 0, 1, keep)
    saturation = jnp.asarray(SELU_SATURATION, keep.dtype)
    scale = lax.rsqrt(safe * (1 + (1 - safe) * saturation**2))
    shift = -scale * saturation * (1 - safe)
    wide = x.astype(wide_dtype(x))
    affine = wide * scale.astype(wide.dtype) + shift.astype(wide.dtype)
    dropped = jnp.where(keep == 0, 0, scale * saturation * safe).astype(wide.dtype)
    mixed = jnp.where(mask, affine, dropped).astype(x.dtype)
    return jnp.where(keep == 1, x, mixed)


def apply_gaussian(x: Array, noise: Array, /, *, keep: Any) -> Array:
    """Multiplies ``x`` by N(1, (1 - keep) / keep), of which ``noise`` is N(0, 1).

    Args:
      x: the data, floating point or complex.
      noise: standard normal draws that broadcast to x's shape.
      keep: as in :func:`apply`. At 0 the variance is infinite and the output NaN.

    Returns:
      An array with the shape and dtype of ``x``.
    """
    return _apply_gaussian(x, noise, jnp.asarray(keep, real_dtype(x)))


@noisy
def _apply_gaussian(x: Array, noise: Array, keep: Array) -> Array:
    noise, keep = at_rank(noise, x.ndim), at_rank(keep, x.ndim)
    deviation = jnp.sqrt((1 - keep) / jnp.where(keep == 0, jnp.nan, keep))
    wide = x.astype(wide_dtype(x))
    factor = 1 + deviation * noise.astype(keep.dtype)
    return jnp.where(keep == 1, x, (wide * factor.astype(wide.dtype)).astype(x.dtype))


def wide_dtype(x: Array) -> np.dtype[Any]:
    """The dtype to compute in: x's own, but at least single precision."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating) or x.dtype == jnp.float64:
        return x.dtype
    return np.dtype(np.float32)


def real_dtype(x: Array) -> np.dtype[Any]:
    """The dtype of a scale: real, as wide as what is computed in."""
    return np.dtype(jnp.finfo(wide_dtype(x)).dtype)
