"""DropKey: dropping keys of a query before the softmax (Li et al., 2023)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_broadcast,
    check_rate,
    check_shape,
    check_sharding,
    is_identity,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._numbers import as_array
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def drop_key(
    key: Key | None,
    shape: tuple[int, ...],
    /,
    *,
    rate: Rate,
    mask: Array | None = None,
    out_sharding: Any = None,
    deterministic: Flag = False,
) -> Array:
    """Draws a mask in which each query of an attention layer loses some of its keys.

    It is dropout before the softmax, which redistributes the weight of dropped keys to
    the remaining ones, so that nothing is rescaled. Pass the result as ``mask`` to
    :func:`jax.nn.dot_product_attention`, to Flax's attention modules or to
    :func:`jaxdrop.dot_product_attention`.

    A query keeps at least one of the keys that ``mask`` allows: if it would lose all of
    them, it keeps the one that survives the highest rate. In the paper a large negative
    number is added to the logits instead, with which a query that loses all its keys
    attends to all of them.

    Usage:
      In vision transformers, at a rate of 0.1 to 0.3 in the first layers and less in
      later ones.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      shape: the shape of the attention weights, ``(…, queries, keys)``. Static; sizes
        may be symbolic in :mod:`jax.export`.
      rate: the probability that a query loses a key: a number or a scalar array. A
        traced rate outside [0, 1] drops nothing.
      mask: the keys that each query may attend to, boolean, broadcasting to ``shape``;
        for example causal. The row of a query without such keys stays False.
      out_sharding: the sharding of the result on an explicit mesh; by default that of
        ``mask``. Static.
      deterministic: drop nothing; may be traced.

    Returns:
      A boolean mask of the given shape, ``True`` where a query may attend.

    Raises:
      ValueError: if ``rate`` is out of range, a key is missing, or ``mask`` does not
        broadcast to ``shape``.
      TypeError: if ``mask`` is not boolean.

    References:
      Li, Hu, Nie, Han, Jiang, Guo, Liu, `DropKey for vision transformer
      <https://arxiv.org/abs/2208.02646>`_, CVPR 2023.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> q = k = v = jnp.ones((2, 16, 4, 8))
      >>> causal = jnp.tril(jnp.ones((1, 1, 16, 16), bool))
      >>> mask = jaxdrop.drop_key(
      ...     jax.random.key(0), (2, 4, 16, 16), rate=0.9, mask=causal
      ... )
      >>> bool(mask.any(axis=-1).all()), bool((mask & ~causal).any())
      (True, False)
      >>> jax.nn.dot_product_attention(q, k, v, mask=mask).shape
      (2, 16, 4, 8)
    """
    check_rate(rate)
    allowed = _check_mask(mask, shape)
    check_sharding(out_sharding)
    if out_sharding is not None:
        allowed = jax.sharding.reshard(allowed, out_sharding)
    if is_identity(rate, deterministic):
        return allowed
    key = require_key(key)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    return _drop_key(key, keep, allowed)


@site("jaxdrop.drop_key", draws="mask", acts_on="attention")
def _drop_key(key: Key, keep: Any, allowed: Array) -> Array:
    sharding = _masks.sharding_of(allowed)
    bits = prng.random_bits(key, allowed.shape, out_sharding=sharding)
    kept = allowed & _masks.survives(bits, keep=keep)
    draw = jnp.where(allowed, bits >> jnp.uint32(9), jnp.uint32(2**32 - 1))
    longest = allowed & (draw == draw.min(axis=-1, keepdims=True))
    mask = kept | (longest & ~kept.any(axis=-1, keepdims=True))
    return _masks.fence(mask)  # the products of attention would hash it for each tile


def _check_mask(mask: Any, shape: Any) -> Array:
    """Returns the keys that each query may attend to, of the given shape, or raises."""
    shape = check_shape(shape)
    if len(shape) < 2 or shape[-1] < 1:
        raise ValueError(
            f"shape must be (…, queries, keys) with at least one key, got {shape}."
        )
    if mask is None:
        return jnp.ones(shape, bool)
    mask = jnp.asarray(as_array(mask, name="mask"))
    if mask.dtype != jnp.bool_:
        raise TypeError(
            f"mask must be boolean, True where attended to, got {mask.dtype}."
        )
    check_broadcast(mask.shape, shape, name="mask", of="the weights")
    return jnp.broadcast_to(mask, shape)
