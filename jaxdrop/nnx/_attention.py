"""Attention with dropout inside Flax's NNX attention modules."""

from typing import Any

from flax import nnx

from jaxdrop._attention.batches import attend_in_batches
from jaxdrop._errors import named
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def attention_fn(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    broadcast_dropout: bool = True,
    dropout_rng: Key | None = None,
    dropout_rate: Rate = 0.0,
    deterministic: Flag = False,
    dtype: Any = None,
    precision: Any = None,
    module: nnx.Module | None = None,
    promote_dtype: Any = nnx.nn.dtypes.promote_dtype,
    is_causal: bool = False,
) -> Array:
    """:func:`jaxdrop.dot_product_attention` as ``nnx.MultiHeadAttention`` calls it.

    Give it as ``attention_fn=``. Dropping then costs memory linear in the length of the
    sequences; with x64 off the masks are those that Flax draws from the same key.
    Evaluation is :func:`jax.nn.dot_product_attention`, which Flax itself uses only in
    modules whose rate is 0.

    Flax's modules share one mask over all examples and heads unless they are made with
    ``broadcast_dropout=False``.

    Args:
      query: queries, ``(*batch, queries, heads, features)``.
      key: keys, ``(*batch, keys, key heads, features)``.
      value: values, of the shape of ``key``.
      bias: a term that is added to the logits, broadcasting to
        ``(*batch, heads, queries, keys)``.
      mask: True where a query may attend, broadcasting as ``bias``.
      broadcast_dropout: one mask for all examples and heads.
      dropout_rng: the key of the mask.
      dropout_rate: the probability of dropping a weight; may be traced here, but not in
        Flax's modules, which compare it with 0 in Python.
      deterministic: drop nothing; may be traced.
      dtype: the dtype of the computation; by default that of the promoted arrays.
      precision: of the products, see ``jax.lax.Precision``.
      module: the module in which to sow the weights; Flax's own function, which stores
        them, is then called.
      promote_dtype: the function that promotes the arrays to one dtype.
      is_causal: a query attends to no later keys.

    Returns:
      An array of the shape of ``query``.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> layer = nnx.MultiHeadAttention(
      ...     num_heads=4, in_features=16, dropout_rate=0.1, broadcast_dropout=False,
      ...     decode=False, attention_fn=jaxdrop.nnx.attention_fn, rngs=nnx.Rngs(0),
      ... )
      >>> layer(jnp.ones((2, 64, 16)), deterministic=False, is_causal=True).shape
      (2, 64, 16)
    """
    if module is not None:
        recorded: Array = nnx.dot_product_attention(
            query,
            key,
            value,
            bias,
            mask,
            broadcast_dropout,
            dropout_rng,
            dropout_rate,  # type: ignore[arg-type]
            deterministic,  # type: ignore[arg-type]
            dtype,
            precision,
            module,
            promote_dtype,
            is_causal,
        )
        return recorded
    query, key, value = promote_dtype((query, key, value), dtype=dtype)
    return attend_in_batches(
        dropout_rng,
        query,
        key,
        value,
        rate=dropout_rate,
        bias=bias,
        mask=mask,
        is_causal=is_causal,
        share_draws=broadcast_dropout,
        precision=precision,
        deterministic=deterministic,
    )
