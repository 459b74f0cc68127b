"""Weights with learned noise: their log alpha, pruning, and layers that use them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import require_key, select
from jaxdrop._sites import site
from jaxdrop._typing import Array, Key, Scalar

THRESHOLD = 3.0
"""Weights with a log alpha above this are pruned: a dropout rate above about 0.95."""

_SMALL = 1e-8

_TINY = 1e-16
"""Keeps the gradient of a deviation finite where an input is all zeros."""


def log_alpha(mean: Array, log_variance: Array, /) -> Array:
    """``log(variance / mean**2)``, finite where ``mean`` is 0."""
    wide = _masks.wide_dtype(mean)
    squared = jnp.square(mean.astype(wide)) + jnp.asarray(_SMALL, wide)
    return log_variance.astype(wide) - jnp.log(squared)


def is_pruned(mean: Array, log_variance: Array, /, *, threshold: Scalar) -> Array:
    """Where log alpha reaches a threshold, of whatever dtype."""
    alpha = log_alpha(mean, log_variance)
    if isinstance(threshold, jax.Array):
        threshold = threshold.astype(alpha.dtype)
    return alpha >= threshold


def prune(mean: Array, log_variance: Array, /, *, threshold: Scalar) -> Array:
    """The means of the weights, 0 for those whose log alpha reaches a threshold."""
    is_noise = is_pruned(mean, log_variance, threshold=threshold)
    pruned = jnp.where(is_noise, jnp.zeros((), mean.dtype), mean)
    return jnp.where(jnp.isnan(threshold), jnp.asarray(jnp.nan, mean.dtype), pruned)


def draw_output(key: Key, mean: Array, variance: Array, /) -> Array:
    """Draws the outputs of a layer from their means and variances.

    Args:
      key: a PRNG key.
      mean: the means of the outputs.
      variance: their variances, of the same shape, in the dtype to compute in.

    Returns:
      An array of the dtype of ``variance``.
    """
    noise = prng.normal(key, variance.shape, out_sharding=_masks.sharding_of(variance))
    return _output(mean, noise, variance)


@_masks.noisy
def _output(mean: Array, noise: Array, variance: Array) -> Array:
    positive = jnp.maximum(variance, 0)  # fast convolutions may return less than 0
    deviation = jnp.sqrt(positive + jnp.asarray(_TINY, variance.dtype))
    return mean.astype(variance.dtype) + deviation * noise.astype(variance.dtype)


def variational_conv(
    key: Key | None,
    x: Array,
    mean: Array,
    log_variance: Array,
    /,
    *,
    product: Callable[..., Array],
    threshold: Scalar,
    deterministic: bool | Array,
) -> Array:
    """:func:`jaxdrop.variational_dense` for other products, such as convolutions.

    Args:
      key: a PRNG key; may be None where nothing is drawn.
      x: inputs.
      mean: the means of the weights.
      log_variance: the logarithms of their variances.
      product: multiplies inputs and weights, linear in both: a convolution. A third
        argument is the dtype to compute in, by default that of the layer.
      threshold: weights with a log alpha above this are 0 in evaluation.
      deterministic: whether the layer is in evaluation.

    Returns:
      The product with random weights; in evaluation, with the means of those that are
      not pruned.
    """

    def evaluated() -> Array:
        return product(x, prune(mean, log_variance, threshold=threshold))

    if deterministic is True:
        return evaluated()
    key = require_key(key, instead="deterministic=True")
    center, wide = product(x, mean), _masks.wide_dtype(x)
    variance = jnp.exp(log_variance.astype(wide))
    spread = product(jnp.square(x.astype(wide)), variance, wide)
    drawn = _variational_conv(key, center, spread.astype(_masks.wide_dtype(center)))
    return (
        drawn if deterministic is False else select(deterministic, evaluated(), drawn)
    )


@site("jaxdrop.variational_conv", draws="noise", acts_on="weights")
def _variational_conv(key: Key, mean: Array, variance: Array) -> Array:
    return draw_output(key, mean, variance).astype(mean.dtype)
