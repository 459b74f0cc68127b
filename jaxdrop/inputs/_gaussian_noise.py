"""Additive Gaussian noise."""

import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_flag,
    check_inexact,
    is_zero,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._norms import widened
from jaxdrop._sites import site
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, Flag, Key, Scalar


@named
def gaussian_noise(
    key: Key | None,
    x: Array,
    /,
    *,
    stddev: Scalar,
    deterministic: Flag = False,
) -> Array:
    """Adds normal noise to every entry, so that the network varies smoothly with it.

    For small noise and a squared error the expected loss is, to first order in the
    variance, the loss without noise plus a penalty of the squared Jacobian.

    Usage:
      On the standardized input of a network, with a standard deviation of 0.05 to 0.3.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: floating point data of any shape.
      stddev: the standard deviation: a number of at least 0, or a JAX scalar, traced or
        not, which gives NaN where it is negative or not finite.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``; the sum is rounded once.

    Raises:
      ValueError: if ``stddev`` is negative or a key is missing.
      TypeError: if ``x`` is not real floating point.

    References:
      Bishop, `Training with noise is equivalent to Tikhonov regularization
      <https://doi.org/10.1162/neco.1995.7.1.108>`_, Neural Computation 1995.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import inputs
      >>> x = jnp.zeros((64, 64))
      >>> y = inputs.gaussian_noise(jax.random.key(0), x, stddev=2.0)
      >>> bool(abs(y.std() - 2) < 0.1)
      True
    """
    stddev = as_strength(stddev, name="stddev")
    x = check_inexact(x)
    if jnp.iscomplexobj(x):
        raise TypeError(f"x must be real, since the noise is, got {x.dtype}.")
    flag = check_flag(deterministic)
    if flag is True or is_zero(stddev):
        return x
    key = require_key(key, instead="deterministic=True")
    return select(flag, x, _gaussian_noise(key, x, stddev))


@site("jaxdrop.inputs.gaussian_noise", draws="noise", acts_on="inputs")
def _gaussian_noise(key: Key, x: Array, stddev: Scalar) -> Array:
    noise = prng.normal(key, x.shape, out_sharding=_masks.sharding_of(x))
    return _add(x, noise, jnp.asarray(stddev))


@_masks.fenced
def _add(x: Array, noise: Array, stddev: Array) -> Array:
    wide = widened(x)
    scaled = noise.astype(wide.dtype) * stddev.astype(wide.dtype)
    return (wide + scaled).astype(x.dtype)
