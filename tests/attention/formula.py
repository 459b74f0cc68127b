"""Attention with dropout as it stands in the books: softmax, dropout, product."""

import jax
import jax.numpy as jnp
import numpy as np

MASKED = -0.7 * float(np.finfo(np.float32).max)  # a logit, in jax.nn


def attended(weights, *, mask, is_causal, query_len, key_len, window):
    """Which of the weights, (batch, heads, queries, keys), are not masked."""
    _, _, queries, keys = weights
    query = np.arange(queries, dtype=np.int32)[:, None]
    key = np.arange(keys, dtype=np.int32)[None]
    allowed = jnp.ones(weights, bool)
    if mask is not None:
        allowed &= jnp.broadcast_to(mask, weights)
    if is_causal:
        allowed &= jnp.asarray(key <= query)[None, None]
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        allowed &= jnp.asarray((key >= query - left) & (key <= query + right))[None, None]
    if query_len is not None:
        allowed &= (query[None] < query_len[:, None, None])[:, None]
    if key_len is not None:
        allowed &= (key[None] < key_len[:, None, None])[:, None]
    return allowed


def attend(
    query,
    key,
    value,
    *,
    kept=True,
    keep=1.0,
    bias=None,
    mask=None,
    scale=None,
    is_causal=False,
    query_seq_lengths=None,
    key_value_seq_lengths=None,
    local_window_size=None,
):
    """The formula, in the dtype of its arguments; ``kept`` is the dropout mask."""
    batch, queries, heads, features = query.shape
    repeats = heads // key.shape[2]
    key, value = (jnp.repeat(x, repeats, axis=2) for x in (key, value))
    scale = 1 / np.sqrt(features) if scale is None else scale
    logits = jnp.einsum("btnh,bsnh->bnts", query, key) * jnp.asarray(scale, query.dtype)
    if bias is not None:
        logits = logits + bias.astype(logits.dtype)
    allowed = attended(
        logits.shape,
        mask=mask,
        is_causal=is_causal,
        query_len=query_seq_lengths,
        key_len=key_value_seq_lengths,
        window=local_window_size,
    )
    weights = jax.nn.softmax(jnp.where(allowed, logits, MASKED), axis=-1)
    dropped = jnp.where(kept, weights / keep if keep else 0 * weights, 0)
    output = jnp.einsum("bnts,bsnh->btnh", dropped, value)
    if query_seq_lengths is not None:
        inside = np.arange(queries)[None] < np.asarray(query_seq_lengths)[:, None]
        output = jnp.where(jnp.asarray(inside)[:, :, None, None], output, 0)
    return output


def widened(arrays, dtype):
    """Arrays, or None, in a wider dtype; integers and booleans as they are."""
    return {
        name: x.astype(dtype)
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
        else x
        for name, x in arrays.items()
    }
