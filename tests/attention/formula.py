"""Attention with dropout as the papers write it, in NumPy, and its gradients."""

import numpy as np

MASKED = -0.7 * float(np.finfo(np.float32).max)  # a masked logit, in jax.nn


def attend(arrays, *, kept=True, keep=1.0, scale=None, **masking):
    """Softmax, dropout, product, in the dtype of the arrays.

    Args:
      arrays: ``query``, ``key``, ``value``, and what else a call has.
      kept: the dropout mask, (batch, heads, queries, keys).
      keep: the probability of keeping.
      scale: of the logits.
      **masking: ``is_causal`` and ``local_window_size``.
    """
    weights, value, inside = _weights(arrays, scale, masking)
    output = np.einsum("bnts,bsnh->btnh", _drop(weights, kept, keep), value)
    return np.where(inside, output, 0)


def gradients(arrays, cotangent, *, kept=True, keep=1.0, scale=None, **masking):
    """How the sum of output times cotangent changes with each floating array."""
    weights, value, inside = _weights(arrays, scale, masking)
    cotangent = np.where(inside, cotangent, 0)
    query, key, heads = arrays["query"], arrays["key"], arrays["query"].shape[2]
    change = np.einsum("btnh,bsnh->bnts", cotangent, value)
    change = _drop(change, kept, keep)
    change = weights * (change - (weights * change).sum(-1, keepdims=True))
    change = np.where(_allowed(arrays, weights.shape, masking), change, 0)
    scaled = change * _scale(query, scale)
    found = {
        "query": np.einsum("bnts,bsnh->btnh", scaled, _repeat(key, heads)),
        "key": np.einsum("bnts,btnh->bsnh", scaled, query),
        "value": np.einsum("bnts,btnh->bsnh", _drop(weights, kept, keep), cotangent),
    }
    for name in ("key", "value"):  # query heads of a key head are added
        batch, keys, key_heads, features = arrays[name].shape
        grouped = found[name].reshape(batch, keys, key_heads, -1, features)
        found[name] = grouped.sum(3)
    if "bias" in arrays:
        shape = arrays["bias"].shape
        shared = tuple(a for a in range(4) if shape[a] < change.shape[a])
        found["bias"] = change.sum(shared, keepdims=True)
    return found


def _weights(arrays, scale, masking):
    query, heads = arrays["query"], arrays["query"].shape[2]
    key, value = (_repeat(arrays[name], heads) for name in ("key", "value"))
    logits = np.einsum("btnh,bsnh->bnts", query, key) * _scale(query, scale)
    logits = logits + arrays.get("bias", query.dtype.type(0))
    logits = np.where(_allowed(arrays, logits.shape, masking), logits, MASKED)
    weights = np.exp(logits - logits.max(-1, keepdims=True), dtype=query.dtype)
    lengths = arrays.get("query_seq_lengths", np.full(query.shape[0], query.shape[1]))
    inside = np.arange(query.shape[1]) < lengths[:, None]
    return weights / weights.sum(-1, keepdims=True), value, inside[..., None, None]


def _allowed(arrays, weights, masking):
    query = np.arange(weights[2])[None, None, :, None]
    key = np.arange(weights[3])[None, None, None]
    allowed = np.broadcast_to(arrays.get("mask", True), weights)
    if masking.get("is_causal"):
        allowed = allowed & (key <= query)
    if "local_window_size" in masking:
        window = masking["local_window_size"]
        left, right = (window, window) if isinstance(window, int) else window
        allowed = allowed & (key >= query - left) & (key <= query + right)
    for name, position in (
        ("query_seq_lengths", query),
        ("key_value_seq_lengths", key),
    ):
        if name in arrays:
            allowed = allowed & (position < arrays[name][:, None, None, None])
    return allowed


def _drop(weights, kept, keep):
    return np.where(kept, weights / weights.dtype.type(keep or 1), 0)


def _scale(query, scale):
    return query.dtype.type(1 / np.sqrt(query.shape[3]) if scale is None else scale)


def _repeat(x, heads):
    return np.repeat(x, heads // x.shape[2], axis=2)


def inputs(batch, queries, keys, heads, key_heads, features, *, seed=0):
    """Queries, keys and values to attend with."""
    generator = np.random.default_rng(seed)
    shapes = {"query": (queries, heads), "key": (keys, key_heads)}
    shapes["value"] = shapes["key"]
    return {
        name: generator.normal(size=(batch, *shape, features)).astype(np.float32)
        for name, shape in shapes.items()
    }
