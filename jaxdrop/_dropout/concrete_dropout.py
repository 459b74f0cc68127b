"""Concrete dropout: a rate that is learned (Gal et al., 2017)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop import _masks
from jaxdrop._checks import (
    check_axes,
    check_flag,
    check_inexact,
    require_key,
    select,
)
from jaxdrop._dropout._logistic import logistic
from jaxdrop._errors import named
from jaxdrop._numbers import as_real, as_scalar
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Scalar


@named
def concrete_dropout(
    key: Key | None,
    x: Array,
    logit_rate: ArrayLike,
    /,
    *,
    temperature: Scalar = 0.1,
    broadcast_dims: Axes = (),
    deterministic: Flag = False,
) -> Array:
    """Multiplies by relaxed dropout masks, through which the rate can be learned.

    An entry is multiplied by ``(1 - z) / (1 - rate)``, where ``z`` is nearly 0 or 1
    and differentiable in ``logit_rate``. The lower the temperature the closer this is
    to :func:`jaxdrop.dropout` with the same key; its expectation is ``x`` in that limit
    only. Without :func:`jaxdrop.concrete_penalty` in the loss the rate tends to 0. The
    noise and the factor are computed in float32 or wider.

    Usage:
      On the input of every layer, starting from a rate of 0.1. Before convolutions drop
      whole channels, with ``broadcast_dims=(1, 2)`` and a temperature of 2/3.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: the data, floating point or complex, of any shape.
      logit_rate: ``log(rate / (1 - rate))``, unbounded and learned; a scalar, or an
        array that broadcasts against ``x``. Gradients reach it. Minus infinity keeps
        all entries, plus infinity keeps none.
      temperature: the temperature of the relaxation, positive; a traced value that is
        not positive gives NaN.
      broadcast_dims: axes along which one draw is shared. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``temperature`` is not positive, ``logit_rate`` does not broadcast,
        ``broadcast_dims`` are out of range, or a key is missing.
      TypeError: if ``x`` is not floating point.

    References:
      Gal, Hron, Kendall, `Concrete dropout <https://arxiv.org/abs/1705.07832>`_,
      NeurIPS 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((64, 64))
      >>> kept = lambda logit_rate: jnp.mean(
      ...     jaxdrop.concrete_dropout(jax.random.key(0), x, logit_rate) ** 2
      ... )
      >>> bool(jax.grad(kept)(0.0) > 0)  # a higher rate gives more noise
      True
    """
    temperature = as_scalar(temperature, name="temperature")
    if not isinstance(temperature, jax.Array) and not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}.")
    flag = check_flag(deterministic)
    if flag is True:
        return x
    x = check_inexact(x)
    key = require_key(key, instead="deterministic=True")
    logits = jnp.asarray(as_real(logit_rate, name="logit_rate"), _masks.real_dtype(x))
    logits = _masks.align(logits, x.shape, name="logit_rate")
    shared = check_axes(broadcast_dims, x.ndim, name="broadcast_dims")
    noisy = _concrete_dropout(
        key, x, logits, _nan_unless_positive(temperature), broadcast_dims=shared
    )
    return select(flag, x, noisy)


def _nan_unless_positive(value: Any, /) -> Any:
    """A number as it is; a JAX array with NaN where it is not above 0.

    Traced values cannot raise an error, and must not be used without notice.
    """
    if not isinstance(value, jax.Array):
        return value
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.float32)
    return jnp.where(value > 0, value, jnp.nan)


def initial_logit(rate: float, /) -> float:
    """``log(rate / (1 - rate))`` of the initial rate of a module."""
    if not 0 < rate < 1:
        raise ValueError(
            "init_rate must be between 0 and 1, which have no finite logit; got "
            f"{rate}."
        )
    return math.log(rate) - math.log1p(-rate)


@site(
    "jaxdrop.concrete_dropout",
    draws="noise",
    acts_on="entries",
    adds_variance=True,
    breaks_selu=True,
    static=("broadcast_dims",),
)
def _concrete_dropout(
    key: Key, x: Array, logits: Array, temperature: Any, *, broadcast_dims: Axes
) -> Array:
    shape, sharding = _masks.drawn_shape(
        x.shape, broadcast_dims, out_sharding=_masks.sharding_of(x)
    )
    noise = logistic(key, shape, dtype=logits.dtype, out_sharding=sharding)
    temperature = jnp.asarray(temperature, logits.dtype)
    return _multiply(x, noise, logits, temperature)


@_masks.noisy
def _multiply(x: Array, noise: Array, logits: Array, temperature: Array) -> Array:
    logits = _masks.at_rank(logits, x.ndim)
    certain = logits == jnp.inf  # a rate of 1
    logits = jnp.where(certain, 0, logits)
    drop = (logits + noise) / temperature
    # (1 - sigmoid(drop)) / (1 - sigmoid(logits)), finite for every logit
    factor = jnp.exp(jax.nn.softplus(logits) - jax.nn.softplus(drop))
    factor = jnp.where(certain, 0, factor)
    wide = _masks.wide_dtype(x)
    noisy = (x.astype(wide) * factor.astype(wide)).astype(x.dtype)
    return jnp.where(factor == 0, jnp.zeros((), x.dtype), noisy)
