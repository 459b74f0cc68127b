"""NEFTune: uniform noise on embeddings (Jain et al., 2023)."""

import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_flag,
    check_inexact,
    is_zero,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._norms import widened
from jaxdrop._numbers import as_real
from jaxdrop._sites import site
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, Flag, Key, Scalar


@named
def embedding_noise(
    key: Key | None,
    embedded: Array,
    /,
    *,
    alpha: Scalar,
    mask: Array | None = None,
    deterministic: Flag = False,
) -> Array:
    """Adds uniform noise to embedded tokens, for fine-tuning on instructions (NEFTune).

    No entry changes by more than ``alpha / sqrt(length * features)``. The length is
    that of each sequence without its padding, so that the strength of the noise does
    not depend on how far a batch is padded.

    Usage:
      On the output of the embedding while a language model is fine-tuned, with an
      ``alpha`` of 5 to 15.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      embedded: floating point, ``(*batch, length, features)``.
      alpha: the strength: a number of at least 0, or a JAX scalar, traced or not, which
        gives NaN where it is negative or not finite.
      mask: False at padding, of shape ``(*batch, length)``. Padding gets no noise and
        is not counted in the length. By default there is no padding.
      deterministic: return ``embedded`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``embedded``; the sum is rounded once.

    Raises:
      ValueError: if ``alpha`` is negative, a key is missing, or shapes do not agree.
      TypeError: if ``embedded`` is not real floating point.

    References:
      Jain, Chiang, Wen, Kirchenbauer, Chu et al., `NEFTune: Noisy embeddings improve
      instruction finetuning <https://arxiv.org/abs/2310.05914>`_, ICLR 2024.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import inputs
      >>> embedded, mask = jnp.zeros((1, 8, 50)), jnp.arange(8)[None] < 2
      >>> y = inputs.embedding_noise(jax.random.key(0), embedded, alpha=5.0, mask=mask)
      >>> bool((y[:, 2:] == 0).all()), bool(abs(y).max() < 5 / (2 * 50) ** 0.5)
      (True, True)
    """
    alpha = as_strength(alpha, name="alpha")
    embedded = check_inexact(embedded, name="embedded")
    if jnp.iscomplexobj(embedded) or embedded.ndim < 2:
        raise TypeError(
            "embedded must be real embeddings (*batch, length, features), got "
            f"{embedded.dtype} of shape {embedded.shape}."
        )
    if mask is None:
        real = jnp.ones(embedded.shape[:-1], bool)
    else:
        real = jnp.asarray(as_real(mask, name="mask"))
    if real.shape != embedded.shape[:-1]:
        raise ValueError(
            f"mask must have shape {embedded.shape[:-1]}, got {real.shape}."
        )
    flag = check_flag(deterministic)
    if flag is True or is_zero(alpha):
        return embedded
    key = require_key(key, instead="deterministic=True")
    noisy = _embedding_noise(key, embedded, alpha, real.astype(bool))
    return select(flag, embedded, noisy)


@site("jaxdrop.inputs.embedding_noise", draws="noise", acts_on="inputs")
def _embedding_noise(key: Key, embedded: Array, alpha: Scalar, real: Array) -> Array:
    wide = widened(embedded)
    length = jnp.sum(real, axis=-1, dtype=jnp.int32, keepdims=True)[..., None]
    # A long sequence may have more entries than an int32 can count.
    features = jnp.asarray(embedded.shape[-1], wide.dtype)
    entries = jnp.maximum(length, 1).astype(wide.dtype) * features
    reach = jnp.asarray(alpha).astype(wide.dtype) / jnp.sqrt(entries)
    share = prng.uniform(key, embedded.shape, out_sharding=_masks.sharding_of(embedded))
    return _add(embedded, share, reach, real[..., None])


@_masks.fenced
def _add(embedded: Array, share: Array, reach: Array, real: Array) -> Array:
    wide = widened(embedded)
    noise = (2 * share.astype(wide.dtype) - 1) * reach
    return jnp.where(real, (wide + noise).astype(embedded.dtype), embedded)
