"""How much of a variational layer is pruned (Molchanov et al., 2017)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._checks import check_same_shape
from jaxdrop._dropout._noisy_weights import THRESHOLD, is_pruned
from jaxdrop._dropout._weights import check_like
from jaxdrop._errors import named
from jaxdrop._numbers import as_real, as_scalar
from jaxdrop._typing import Array, PyTree, Scalar


@named
def variational_sparsity(
    mean: PyTree, log_variance: PyTree, /, *, threshold: Scalar = THRESHOLD
) -> Array:
    """The share of weights that evaluation leaves out.

    Args:
      mean: the means of the weights, an array or a tree of arrays.
      log_variance: the logarithms of their variances, like ``mean``.
      threshold: weights whose log of ``variance / mean**2`` is above this are pruned.

    Returns:
      A float32 scalar; 0 for an empty tree.

    References:
      Molchanov, Ashukha, Vetrov, `Variational dropout sparsifies deep neural networks
      <https://arxiv.org/abs/1701.05369>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> mean = jnp.array([1.0, 0.1, 0.0])
      >>> round(float(jaxdrop.variational_sparsity(mean, jnp.full(3, -1.0))), 3)
      0.667
    """
    threshold = as_scalar(threshold, name="threshold")
    check_like(
        mean,
        log_variance,
        names="mean and log_variance",
    )
    mean = jax.tree.map(lambda leaf: jnp.asarray(as_real(leaf, name="mean")), mean)
    total = max(sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(mean)), 1)

    def count(mean: Array, log_variance: Array) -> Array:
        log_variance = jnp.asarray(as_real(log_variance, name="log_variance"))
        check_same_shape(mean, log_variance, names="mean and log_variance")
        noise = is_pruned(mean, log_variance, threshold=threshold)
        rows = jnp.sum(jnp.atleast_1d(noise), axis=-1, dtype=jnp.uint32)
        return jnp.sum(rows.astype(jnp.float32))

    counts = jax.tree.leaves(jax.tree.map(count, mean, log_variance))
    share = jnp.minimum(sum(counts, start=jnp.float32(0)) / np.float32(total), 1)
    return jnp.where(jnp.isnan(threshold), jnp.nan, share)
