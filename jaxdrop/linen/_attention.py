"""Attention with dropout inside Flax's Linen attention modules."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

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
    module: nn.Module | None = None,
    force_fp32_for_softmax: bool = False,
    einsum_dot_general: Callable[..., Array] | None = None,
    qk_attn_weights_einsum: Callable[..., Array] | None = None,
    attn_weights_value_einsum: Callable[..., Array] | None = None,
) -> Array:
    """:func:`jaxdrop.dot_product_attention` in ``nn.MultiHeadDotProductAttention``.

    Give it as ``attention_fn=``. Dropping then costs memory linear in the length of the
    sequences; with x64 off the masks are those that Flax draws from the same key.
    Evaluation is :func:`jax.nn.dot_product_attention`, which Flax's Linen modules never
    use.

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
      module: the module in which to sow the weights; None to sow nothing.
      force_fp32_for_softmax: has no effect: the softmax is always in float32 or wider.
      einsum_dot_general: a product of one's own, for example a quantized one.
      qk_attn_weights_einsum: the same, of queries and keys.
      attn_weights_value_einsum: the same, of weights and values. Where weights are
        sown or products are one's own, Flax's own function is called, which holds the
        weights.

    Returns:
      An array of the shape of ``query``.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> layer = nn.MultiHeadDotProductAttention(
      ...     num_heads=4, dropout_rate=0.1, broadcast_dropout=False,
      ...     deterministic=False, attention_fn=jaxdrop.linen.attention_fn,
      ... )
      >>> x = jnp.ones((2, 64, 16))
      >>> rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
      >>> layer.init_with_output(rngs, x)[0].shape
      (2, 64, 16)
    """
    einsums = (einsum_dot_general, qk_attn_weights_einsum, attn_weights_value_einsum)
    if module is not None or any(einsum is not None for einsum in einsums):
        held: Array = nn.dot_product_attention(
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
            force_fp32_for_softmax,
            *einsums,
        )
        return held
    query, key, value = nn.dtypes.promote_dtype(query, key, value, dtype=dtype)
    return attend_in_batches(
        dropout_rng,
        query,
        key,
        value,
        rate=dropout_rate,
        bias=bias,
        mask=mask,
        share_draws=broadcast_dropout,
        precision=precision,
        deterministic=deterministic,
    )
