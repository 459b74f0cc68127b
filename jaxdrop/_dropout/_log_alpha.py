"""How noisy a weight is: ``alpha = variance / mean**2`` (Molchanov et al., 2017)."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop import masks
from jaxdrop._typing import Array

THRESHOLD = 3.0
"""The log alpha from which on a weight is pruned: a dropout rate of about 0.95."""

_SMALL = 1e-8


def log_alpha(mean: Array, log_variance: Array, /) -> Array:
    """``log(variance / mean**2)``, finite where ``mean`` is 0."""
    wide = masks.wide_dtype(mean)
    squared = jnp.square(mean.astype(wide)) + jnp.asarray(_SMALL, wide)
    return log_variance.astype(wide) - jnp.log(squared)


def prune(mean: Array, log_variance: Array, /, *, threshold: ArrayLike) -> Array:
    """The means of weights that are worth keeping, 0 for those that are noise."""
    relevant = log_alpha(mean, log_variance) < threshold
    return jnp.where(relevant, mean, jnp.zeros((), mean.dtype))
