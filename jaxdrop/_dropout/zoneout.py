"""Zoneout: recurrent units that keep their state (Krueger et al., 2017)."""

from typing import Any

import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import (
    check_flag,
    check_inexact,
    check_rate,
    check_same_shape,
    is_zero,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def zoneout(
    key: Key | None,
    new: Array,
    old: Array,
    /,
    *,
    rate: Rate,
    deterministic: Flag = False,
) -> Array:
    """Lets random units of a recurrent state keep their old value.

    Where dropout would erase a unit's memory, zoneout preserves it, and gradients pass
    unchanged through the step that the unit skips.

    In evaluation the result is the expectation, ``rate * old + (1 - rate) * new``, and
    not ``new``: with ``deterministic`` no key is needed, but it is not the identity.

    Usage:
      On the state of a recurrent cell, after each step; usually at a rate of 0.05 for
      the hidden state of an LSTM and 0.5 for its memory.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      new: the state after a step, floating point or complex, of any shape.
      old: the state before it, of the shape and dtype of ``new``.
      rate: the probability that a unit keeps its old value, a scalar. A traced rate
        does not recompile when it changes; outside [0, 1] it gives NaN.
      deterministic: return the expectation; may be traced.

    Returns:
      An array with the shape and dtype of ``new``: at rate 0 ``new`` itself, at rate 1
      ``old``.

    Raises:
      ValueError: if ``rate`` is out of range, a key is missing, or the shapes differ.
      TypeError: if the states are not floating point or have different dtypes, or
        ``rate`` is not a number.

    References:
      Krueger, Maharaj, Kramár, Pezeshki, Ballas, Ke, Goyal, Bengio, Courville, Pal,
      `Zoneout: regularizing RNNs by randomly preserving hidden activations
      <https://arxiv.org/abs/1606.01305>`_, ICLR 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> old, new = jnp.zeros((4, 8)), jnp.ones((4, 8))
      >>> state = jaxdrop.zoneout(jax.random.key(0), new, old, rate=0.5)
      >>> sorted(set(state.ravel().tolist()))
      [0.0, 1.0]
      >>> expected = jaxdrop.zoneout(None, new, old, rate=0.25, deterministic=True)
      >>> set(expected.ravel().tolist())
      {0.75}
    """
    check_rate(rate)
    flag = check_flag(deterministic)
    if is_zero(rate):
        return new
    new, old = check_inexact(new, name="new"), check_inexact(old, name="old")
    check_same_shape(new, old, names="new and old")
    if new.dtype != old.dtype:
        raise TypeError(
            f"new and old must have the same dtype, got {new.dtype} and {old.dtype}."
        )
    keep = _masks.keep_probability(rate)
    if flag is True:
        return _expectation(new, old, keep)
    key = require_key(key, rate=rate)
    drawn = _zoneout(key, new, old, keep)
    if flag is False:
        return drawn
    return select(flag, _expectation(new, old, keep), drawn)


@site("jaxdrop.zoneout", draws="mask", acts_on="states")
def _zoneout(key: Key, new: Array, old: Array, keep: Any) -> Array:
    sharding = _masks.sharding_of(new)
    mask = _masks.draw(key, new.shape, keep=keep, out_sharding=sharding)
    return _zoned(new, mask, old, jnp.asarray(keep, jnp.float32))


@_masks.noisy
def _zoned(new: Array, mask: Array, old: Array, keep: Array) -> Array:
    drawn = jnp.where(mask, new, old)
    return jnp.where(jnp.isnan(keep), jnp.asarray(jnp.nan, new.dtype), drawn)


def _expectation(new: Array, old: Array, keep: Any) -> Array:
    wide = _masks.wide_dtype(new)
    keep = jnp.asarray(keep, _masks.real_dtype(new))
    weight, rest = keep.astype(wide), (1 - keep).astype(wide)
    mean = (weight * new.astype(wide) + rest * old.astype(wide)).astype(new.dtype)
    return jnp.where(keep == 1, new, jnp.where(keep == 0, old, mean))
