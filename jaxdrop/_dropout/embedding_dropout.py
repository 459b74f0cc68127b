"""Embedding dropout: dropping word types (Gal and Ghahramani, 2016)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import check_inexact, check_rate, is_identity, require_key
from jaxdrop._errors import named
from jaxdrop._numbers import as_ids
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def embedding_dropout(
    key: Key | None,
    embedded: Array,
    ids: Array,
    /,
    *,
    rate: Rate,
    deterministic: Flag = False,
) -> Array:
    """Drops word types: every occurrence of an id in the batch, or none.

    Equivalent to dropping rows of the embedding table, at a cost that depends on the
    size of the batch and not on that of the vocabulary: the bits of an id are drawn at
    position ``id``, so that the result equals
    ``dropout(key, table, rate=rate, broadcast_dims=(-1,))[ids]``. Under ``jax.vmap``
    over keys each example drops its own types.

    Usage:
      Directly after the look-up, at a rate of 0.1 for language models and 0.25 for
      classifiers.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      embedded: vectors, floating point or complex, ``(*batch, *features)``.
      ids: the integers that were looked up, ``(*batch,)``.
      rate: the probability of dropping a word type, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      deterministic: return ``embedded`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``embedded``.

    Raises:
      ValueError: if ``rate`` is out of range, a key is missing, or the shapes do not
        match.
      TypeError: if ``embedded`` is not floating point, ``ids`` are not integers, or
        ``rate`` is not a number.

    References:
      Gal, Ghahramani, `A theoretically grounded application of dropout in recurrent
      neural networks <https://arxiv.org/abs/1512.05287>`_, NeurIPS 2016.
      Merity, Keskar, Socher, `Regularizing and optimizing LSTM language models
      <https://arxiv.org/abs/1708.02182>`_, ICLR 2018.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> ids = jnp.array([[7, 3, 7, 7], [2, 7, 3, 5]])
      >>> table = jnp.ones((10, 16))
      >>> y = jaxdrop.embedding_dropout(jax.random.key(0), table[ids], ids, rate=0.5)
      >>> bool((y[ids == 7].std(axis=0) == 0).all())  # all occurrences of 7, or none
      True
    """
    check_rate(rate)
    if is_identity(rate, deterministic):
        return embedded
    ids = as_ids(ids, name="ids")  # first, where the two are given the other way round
    embedded = check_inexact(embedded, name="embedded")
    if embedded.shape[: ids.ndim] != ids.shape:
        raise ValueError(
            "embedded must have the shape of ids, followed by features, got "
            f"{embedded.shape} for ids of shape {ids.shape}."
        )
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    return _embedding_dropout(key, embedded, ids, keep)


@site("jaxdrop.embedding_dropout", draws="mask", acts_on="tokens")
def _embedding_dropout(key: Key, embedded: Array, ids: Array, keep: Any) -> Array:
    sharding = _masks.unspread(_masks.sharding_of(embedded), (), ndim=ids.ndim)
    if sharding is not None:
        ids = jax.sharding.reshard(ids, sharding)
    mask = _masks.draw_at(key, _counters(ids), keep=keep)
    mask = jnp.reshape(mask, ids.shape + (1,) * (embedded.ndim - ids.ndim))
    return _masks.apply(embedded, mask, keep=keep)


def _counters(ids: Array) -> Array:
    """Ids as positions; negative ones, which no table has, count down from 2**32."""
    if ids.dtype.itemsize < 8:
        return ids.astype(jnp.uint32)
    return jnp.where(ids < 0, ids + (1 << 32), ids)
