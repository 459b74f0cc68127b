"""ShakeDrop: shaking residual branches of random depth (Yamada et al., 2018)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_axis,
    check_flag,
    check_inexact,
    check_rate,
    is_zero,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def shake_drop(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    batch_axis: int | None = 0,
    deterministic: Flag = False,
) -> Array:
    """Multiplies the residual branch of random examples by noise, and its gradient too.

    A branch that is selected is multiplied by a factor uniform on [-1, 1] in the
    forward pass, and its gradient by another one, uniform on [0, 1], in the backward
    pass: the gradient differs from that of the output, as published. Other branches
    stay unchanged, and nothing is rescaled. In evaluation the result is the
    expectation, ``(1 - rate) * x``, and not ``x``. Forward-mode and reverse-mode
    differentiation agree.

    Usage:
      At the end of a residual branch, with rates that grow linearly with depth up to
      0.5.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: the output of a residual branch, floating point or complex.
      rate: the probability of selecting a branch, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      batch_axis: the axis of the examples, or ``None`` for one decision for all, for
        use under ``jax.vmap``. Static.
      deterministic: return the expectation; may be traced.

    Returns:
      An array with the shape and dtype of ``x``; at rate 0 ``x`` itself.

    Raises:
      ValueError: if ``rate`` or ``batch_axis`` is out of range, or a key is missing.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Yamada, Iwamura, Akiba, Kise, `ShakeDrop regularization for deep residual learning
      <https://arxiv.org/abs/1802.02375>`_, IEEE Access 2019.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> branch = jnp.ones((64, 4))
      >>> y = jaxdrop.shake_drop(jax.random.key(0), branch, rate=0.5)
      >>> bool((y == 1).any()), bool((y < 0).any()), bool((abs(y) <= 1).all())
      (True, True, True)
    """
    check_rate(rate)
    flag = check_flag(deterministic)
    if is_zero(rate):
        return x
    x = check_inexact(x)
    if batch_axis is not None:
        batch_axis = check_axis(batch_axis, x.ndim, name="batch_axis")
    keep = _masks.keep_probability(rate)
    if flag is True:
        return _expectation(x, keep)
    key = require_key(key)
    drawn = _shake_drop(key, x, keep, batch_axis=batch_axis)
    return drawn if flag is False else select(flag, _expectation(x, keep), drawn)


@site("jaxdrop.shake_drop", draws="mask", acts_on="branches", static=("batch_axis",))
def _shake_drop(key: Key, x: Array, keep: Any, *, batch_axis: int | None) -> Array:
    rest = tuple(axis for axis in range(x.ndim) if axis != batch_axis)
    shape, sharding = _masks.drawn_shape(
        x.shape, rest, out_sharding=_masks.sharding_of(x)
    )
    of_gate, of_alpha, of_beta = jax.random.split(key, 3)
    kept = _masks.draw(of_gate, shape, keep=keep, out_sharding=sharding)
    alpha = 2 * prng.uniform(of_alpha, shape, out_sharding=sharding) - 1
    beta = prng.uniform(of_beta, shape, out_sharding=sharding)
    poison = jnp.isnan(jnp.asarray(keep, jnp.float32))
    alpha, beta = (jnp.where(poison, jnp.nan, factor) for factor in (alpha, beta))
    return _shaken(kept & ~poison, alpha, beta, x)


@jax.custom_jvp
def _shaken(kept: Array, alpha: Array, beta: Array, x: Array) -> Array:
    del beta
    return jnp.where(kept, x, _times(alpha, x))


@_shaken.defjvp
def _shaken_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    kept, _, beta, _ = primals
    to_x = tangents[3]
    return _shaken(*primals), jnp.where(kept, to_x, _times(beta, to_x))


def _times(factor: Any, x: Array) -> Array:
    wide = _masks.wide_dtype(x)
    return (factor.astype(wide) * x.astype(wide)).astype(x.dtype)


def _expectation(x: Array, keep: Any) -> Array:
    keep = jnp.asarray(keep, _masks.real_dtype(x))
    return jnp.where(keep == 1, x, _times(keep, x))
