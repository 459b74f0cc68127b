"""The penalty of sparse variational dropout (Molchanov et al., 2017)."""

import jax
import jax.numpy as jnp

from jaxdrop._checks import check_same_shape
from jaxdrop._dropout._noisy_weights import log_alpha
from jaxdrop._dropout._weights import check_like, total
from jaxdrop._errors import named
from jaxdrop._numbers import as_real
from jaxdrop._sites import site
from jaxdrop._typing import Array, PyTree

_SCALE, _SHIFT, _SLOPE = 0.63576, 1.87320, 1.48695


@named
def variational_penalty(mean: PyTree, log_variance: PyTree, /) -> Array:
    """The Kullback-Leibler divergence of noisy weights from a log-uniform prior.

    It is the published approximation, summed over weights. It is positive and falls
    towards 0 as ``variance / mean**2`` grows, so that weights become noisy unless the
    loss needs them precise. Add it to a loss that is a sum over the training set; for a
    mean over examples divide it by their number. The published code clips
    ``log(variance / mean**2)`` to ±8, where the gradient vanishes; here the gradient is
    that of the formula.

    Args:
      mean: the means of the weights, an array or a tree of arrays.
      log_variance: the logarithms of their variances, like ``mean``.

    Returns:
      A scalar, float32 or wider.

    Raises:
      ValueError: if the trees or shapes differ.

    References:
      Molchanov, Ashukha, Vetrov, `Variational dropout sparsifies deep neural networks
      <https://arxiv.org/abs/1701.05369>`_, ICML 2017, equation 14.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> mean = jnp.ones((8, 4))
      >>> of = lambda log_variance: float(
      ...     jaxdrop.variational_penalty(mean, jnp.full((8, 4), log_variance))
      ... )
      >>> of(-5.0) > of(0.0) > of(5.0) > 0
      True
    """
    check_like(
        mean,
        log_variance,
        names="mean and log_variance",
    )
    divergences = jax.tree.map(_checked, mean, log_variance)
    return total(jax.tree.leaves(divergences))


def _checked(mean: Array, log_variance: Array) -> Array:
    mean = jnp.asarray(as_real(mean, name="mean"))
    log_variance = jnp.asarray(as_real(log_variance, name="log_variance"))
    check_same_shape(mean, log_variance, names="mean and log_variance")
    return _variational_penalty(mean, log_variance)


@site("jaxdrop.variational_penalty", draws="nothing", acts_on="weights")
def _variational_penalty(mean: Array, log_variance: Array) -> Array:
    alpha = log_alpha(mean, log_variance)
    precise = 1 - jax.nn.sigmoid(_SHIFT + _SLOPE * alpha)
    return (_SCALE * precise + 0.5 * jax.nn.softplus(-alpha)).sum()
