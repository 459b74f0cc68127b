"""Attention with any number of batch axes, as Flax's modules call it."""

import contextlib
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention.dot_product_attention import dot_product_attention
from jaxdrop._typing import Array, Flag, Key, Rate


def attend_in_batches(
    key: Key | None,
    query: Array,
    key_: Array,
    value: Array,
    /,
    *,
    rate: Rate,
    bias: Array | None = None,
    mask: Array | None = None,
    is_causal: bool = False,
    share_draws: bool = False,
    precision: Any = None,
    deterministic: Flag = False,
) -> Array:
    """Attends, with all batch axes merged into one.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      query: queries, ``(*batch, queries, heads, features)``.
      key_: keys, ``(*batch, keys, key heads, features)``.
      value: values, of the shape of ``key_``.
      rate: the probability of dropping a weight.
      bias: an array that is added to the logits; broadcasts to ``(*batch, heads,
        queries, keys)``.
      mask: an array that is not 0 where a query may attend; broadcasts as ``bias``.
      is_causal: a query does not attend to later keys. Static.
      share_draws: draw one mask for all examples and heads. Static.
      precision: the precision of products: a ``jax.lax.Precision`` or its name. Static.
      deterministic: drop nothing; may be traced.

    Returns:
      An array with the shape and dtype of ``query``.
    """
    batch, shape = query.shape[:-3], query.shape
    if mask is not None:
        mask = jnp.asarray(mask).astype(bool)
    if query.ndim > 4:
        query, key_, value = (
            x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
            for x in (query, key_, value)
        )
        bias, mask = _one_batch(bias, batch), _one_batch(mask, batch)
    shared = tuple(range(query.ndim - 2)) if share_draws else ()
    with _precision(precision):
        output = dot_product_attention(
            key,
            query,
            key_,
            value,
            rate=rate,
            bias=bias,
            mask=mask,
            is_causal=is_causal,
            broadcast_dims=shared,
            deterministic=deterministic,
        )
    return output.reshape(shape)


def _one_batch(x: Array | None, batch: tuple[int, ...]) -> Array | None:
    """Merges the batch axes into one, or into an axis of length 1 if all have it."""
    if x is None or x.ndim <= 3:
        return x
    if math.prod(x.shape[:-3]) > 1:
        x = jnp.broadcast_to(x, batch + x.shape[-3:])
    return x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])


def _precision(precision: Any) -> contextlib.AbstractContextManager[None]:
    """A context with a precision of products, given in the forms that Flax accepts."""
    if precision is None:
        return contextlib.nullcontext()
    if isinstance(precision, tuple) and len(set(precision)) == 1:
        precision = precision[0]
    if isinstance(precision, jax.lax.Precision):
        precision = precision.name.lower()
    return jax.default_matmul_precision(precision)
