"""Sparse variational dropout: a dense product with noisy weights (Molchanov, 2017)."""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike

from jaxdrop import _masks
from jaxdrop._checks import (
    check_flag,
    check_real,
    require_key,
    select,
)
from jaxdrop._dropout._noisy_weights import THRESHOLD, draw_output, prune
from jaxdrop._errors import named, shown
from jaxdrop._numbers import as_scalar
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Scalar


@named
def variational_dense(
    key: Key | None,
    x: Array,
    mean: Array,
    log_variance: Array,
    /,
    *,
    threshold: Scalar = THRESHOLD,
    precision: PrecisionLike = None,
    deterministic: Flag = False,
) -> Array:
    """Multiplies by random weights, each with a learned amount of noise.

    A weight is distributed as N(mean, variance); ``variance / mean**2``, called alpha,
    is the ``rate / (1 - rate)`` of Gaussian dropout on this weight alone. With
    :func:`jaxdrop.variational_penalty` in the loss the alpha of useless weights grows
    without bound, and they are pruned. Instead of the weights the outputs are sampled,
    from their own means and variances (local reparameterization): each example has its
    own noise, which reduces the variance of the gradient.

    Usage:
      In every dense layer, usually starting from a ``log_variance`` of -10, with a
      coefficient of the penalty that rises from 0 to 1 over the first epochs.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: inputs, floating point, ``(*batch, inputs)``.
      mean: the means of the weights, of x's dtype, ``(inputs, outputs)``.
      log_variance: the logarithms of their variances, like ``mean``.
      threshold: weights with a log alpha above this are 0 in evaluation.
      precision: the precision of the products, see ``jax.lax.Precision``. Static.
      deterministic: multiply by the means of the weights that are not pruned; may be
        traced.

    Returns:
      Outputs of the dtype of ``x``, ``(*batch, outputs)``.

    Raises:
      ValueError: if the shapes do not match, or a key is missing.
      TypeError: if an array is not floating point.

    References:
      Molchanov, Ashukha, Vetrov, `Variational dropout sparsifies deep neural networks
      <https://arxiv.org/abs/1701.05369>`_, ICML 2017.
      Kingma, Salimans, Welling, `Variational dropout and the local reparameterization
      trick <https://arxiv.org/abs/1506.02557>`_, NeurIPS 2015.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x, mean = jnp.ones((4, 8)), jnp.ones((8, 2))
      >>> noisy = jnp.full((8, 2), 5.0).at[:4].set(-5.0)  # the last four are noise
      >>> jaxdrop.variational_dense(jax.random.key(0), x, mean, noisy).shape
      (4, 2)
      >>> y = jaxdrop.variational_dense(None, x, mean, noisy, deterministic=True)
      >>> set(y.ravel().tolist())
      {4.0}
    """
    x, mean = check_real(x, name="x"), check_real(mean, name="mean")
    log_variance = check_real(log_variance, name="log_variance")
    if mean.ndim != 2 or mean.shape != log_variance.shape:
        raise ValueError(
            "mean and log_variance must have the same shape (inputs, outputs), got "
            f"{mean.shape} and {log_variance.shape}."
        )
    if not x.ndim or x.shape[-1] != mean.shape[0]:
        raise ValueError(f"x must have shape (*batch, {mean.shape[0]}), got {x.shape}.")
    threshold = as_scalar(threshold, name="threshold")
    if not _is_precision(precision):
        raise ValueError(
            "precision must be None, a jax.lax.Precision such as "
            "jax.lax.Precision.HIGHEST, or another that jnp.matmul takes, got "
            f"{shown(precision)}."
        )
    flag = check_flag(deterministic)

    def evaluated() -> Array:
        kernel = prune(mean, log_variance, threshold=threshold)
        return jnp.matmul(x, kernel, precision=precision).astype(x.dtype)

    if flag is True:
        return evaluated()
    key = require_key(key, instead="deterministic=True")
    drawn = _variational_dense(key, x, mean, log_variance, precision=precision)
    return drawn if flag is False else select(flag, evaluated(), drawn)


def _is_precision(precision: Any) -> bool:
    """Whether JAX takes it for a product, and so hashes it."""
    try:
        return _is_taken(precision)
    except TypeError:
        return False


@lru_cache
def _is_taken(precision: Any) -> bool:
    """Traces a small product, once for every precision."""
    one = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    try:
        jax.eval_shape(partial(jnp.matmul, precision=precision), one, one)
    except (TypeError, ValueError):
        return False
    return True


@site(
    "jaxdrop.variational_dense", draws="noise", acts_on="weights", static=("precision",)
)
def _variational_dense(
    key: Key, x: Array, mean: Array, log_variance: Array, *, precision: PrecisionLike
) -> Array:
    wide = _masks.wide_dtype(x)
    multiply = partial(jnp.matmul, precision=precision, preferred_element_type=wide)
    expected = multiply(x, mean)
    variance = jnp.exp(log_variance.astype(wide))
    spread = multiply(jnp.square(x.astype(wide)), variance)
    return draw_output(key, expected, spread).astype(x.dtype)
