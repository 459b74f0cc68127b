"""DropHead: dropping whole heads of attention (Zhou et al., 2020)."""

from typing import Any

import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_axis,
    check_inexact,
    check_rate,
    is_identity,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate
from jaxdrop.prng._bits import counted_bits, counter_key


@named
def drop_head(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    head_axis: int = -2,
    deterministic: Flag = False,
) -> Array:
    """Zeroes whole heads of attention, so that a layer cannot rely on a single head.

    Heads are drawn for each example, and its remaining heads are divided by the share
    of heads that remain.

    At least one head of an example survives, so that the mean over draws is exactly
    ``x``; only at a rate of 1 all of them are dropped. The paper divides by zero where
    no head remains.

    Usage:
      On the output of attention, before the heads are joined and projected, at a rate
      of 0.1 to 0.3.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: the outputs of heads, floating point or complex, whose last three axes are
        lengths, heads and features in some order: ``(*batch, queries, heads,
        features)`` by default.
      rate: the probability of dropping a head, unless it is the last of its example: a
        number or a scalar array. A traced rate does not recompile when it changes;
        outside [0, 1] it gives NaN.
      head_axis: the axis of the heads, one of the last three. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` or ``head_axis`` is out of range, a key is missing, or
        ``x`` has fewer than three axes.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Zhou, Ge, Xu, Wei, Zhou, `Scheduled DropHead: a regularization method for
      transformer models <https://arxiv.org/abs/2004.13342>`_, Findings of EMNLP 2020.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((4, 16, 8, 32))
      >>> y = jaxdrop.drop_head(jax.random.key(0), x, rate=0.5)
      >>> bool((y == y[:, :1, :, :1]).all())  # a head is kept or dropped as a whole
      True
      >>> bool(jnp.allclose(y.mean(axis=2), 1))  # the mean over heads is preserved
      True
    """
    check_rate(rate)
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    if x.ndim < 3 or check_axis(head_axis, x.ndim, name="head_axis") < x.ndim - 3:
        raise ValueError(
            f"head_axis must be one of the last three axes of x, got {head_axis} and "
            f"shape {x.shape}."
        )
    key = require_key(key, rate=rate)
    if x.size == 0:
        return x
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    axis = check_axis(head_axis, x.ndim, name="head_axis")
    return _drop_head(key, x, keep, axis=axis)


@site("jaxdrop.drop_head", draws="mask", acts_on="attention", static=("axis",))
def _drop_head(key: Key, x: Array, keep: Any, *, axis: int) -> Array:
    shared = tuple(other for other in range(x.ndim - 3, x.ndim) if other != axis)
    shape, sharding = _masks.drawn_shape(
        x.shape, shared, out_sharding=_masks.sharding_of(x)
    )
    keep = jnp.asarray(keep, jnp.float32)
    # The same bits twice, so that devices need not communicate: sharded like the heads,
    # to select them, and for all heads of an example, to find the least and the share.
    key = counter_key(key)
    own = prng.random_bits(key, shape, out_sharding=sharding)
    whole = _masks.unspread(sharding, (axis,), ndim=x.ndim)
    every = counted_bits(key, shape, out_sharding=whole)
    least = every.min(axis=axis, keepdims=True)

    def kept(bits: Array) -> Array:
        return _masks.survives(bits, keep=keep) | ((bits == least) & (keep > 0))

    share = jnp.mean(kept(every), axis=axis, keepdims=True, dtype=jnp.float32)
    share = jnp.where(jnp.isnan(keep), keep, share)
    return _masks.apply(x, kept(own), keep=share)
