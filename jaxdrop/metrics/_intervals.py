"""Intervals and quantiles: their coverage, their width and their proper scores."""

import jax.numpy as jnp

from jaxdrop._errors import named
from jaxdrop._typing import Array, ArrayLike
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import (
    as_examples,
    as_level,
    poison,
    weighted_mean,
)


@named
@compiled(ordered=("lower", "upper", "targets"))
def interval_coverage(
    lower: ArrayLike,
    upper: ArrayLike,
    targets: ArrayLike,
    /,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """The share of targets inside their intervals, ends included (PICP).

    Args:
      lower: the lower ends of the intervals ``(*batch)``.
      upper: their upper ends ``(*batch)``.
      targets: the observed values ``(*batch)``.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``; NaN without examples. A calibrated interval of nominal
      coverage 0.9 gives 0.9.

    References:
      Khosravi, Nahavandi, Creighton, Atiya, `Comprehensive review of neural
      network-based prediction intervals and new advances
      <https://doi.org/10.1109/TNN.2011.2162110>`_, IEEE Transactions on Neural Networks
      2011.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import interval_coverage
      >>> float(interval_coverage(0.0, 1.0, jnp.array([0.0, 0.5, 1.5, 1.0])))
      0.75
    """
    lower, upper, targets, counts = as_examples(
        weights, lower=lower, upper=upper, targets=targets
    )
    inside = ((lower <= targets) & (targets <= upper)).astype(targets.dtype)
    inside = poison(inside, ~(jnp.isnan(lower) | jnp.isnan(upper) | jnp.isnan(targets)))
    return weighted_mean(inside, counts)


@named
@compiled(differing=("lower", "upper"))
def interval_width(
    lower: ArrayLike, upper: ArrayLike, /, *, weights: ArrayLike | None = None
) -> Array:
    """The mean width of intervals (MPIW), in the units of the targets.

    Args:
      lower: the lower ends of the intervals ``(*batch)``.
      upper: their upper ends ``(*batch)``.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar; NaN without examples.

    References:
      Khosravi, Nahavandi, Creighton, Atiya, `Comprehensive review of neural
      network-based prediction intervals and new advances
      <https://doi.org/10.1109/TNN.2011.2162110>`_, IEEE Transactions on Neural Networks
      2011.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import interval_width
      >>> float(interval_width(jnp.array([0.0, 1.0]), jnp.array([1.0, 4.0])))
      2.0
    """
    lower, upper, counts = as_examples(weights, lower=lower, upper=upper)
    return weighted_mean(upper - lower, counts)


@named
def winkler_score(
    lower: ArrayLike,
    upper: ArrayLike,
    targets: ArrayLike,
    /,
    *,
    alpha: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    """The width of intervals, plus ``2 / alpha`` times the distance of targets outside.

    The proper score of a central interval: it is lowest, on average, for the true
    quantiles at ``alpha / 2`` and ``1 - alpha / 2``.

    Args:
      lower: the lower ends of the intervals ``(*batch)``.
      upper: their upper ends ``(*batch)``.
      targets: the observed values ``(*batch)``.
      alpha: one minus the nominal coverage: 0.1 for intervals of 90 %.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in the units of the targets, lower is better; NaN without examples.

    Raises:
      ValueError: if ``alpha`` is not between 0 and 1; a JAX array gives NaN.
      TypeError: if it is not a real number.

    References:
      Winkler, `A decision-theoretic approach to interval estimation
      <https://doi.org/10.1080/01621459.1972.10481224>`_, JASA 1972. Gneiting, Raftery,
      `Strictly proper scoring rules, prediction, and estimation
      <https://doi.org/10.1198/016214506000001437>`_, JASA 2007.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import winkler_score
      >>> float(winkler_score(0.0, 1.0, jnp.array([0.5, 1.5]), alpha=0.5))
      2.0
    """
    return _winkler(lower, upper, targets, as_level(alpha, name="alpha"), weights)


@compiled(differing=("lower", "upper", "targets"))
def _winkler(
    lower: ArrayLike,
    upper: ArrayLike,
    targets: ArrayLike,
    alpha: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    lower, upper, targets, counts = as_examples(
        weights, lower=lower, upper=upper, targets=targets
    )
    outside = jnp.maximum(lower - targets, 0) + jnp.maximum(targets - upper, 0)
    score = upper - lower + outside * (2 / jnp.asarray(alpha, outside.dtype))
    return weighted_mean(score, counts)


@named
def pinball_loss(
    quantiles: ArrayLike,
    targets: ArrayLike,
    /,
    *,
    level: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    """The proper score of one predicted quantile.

    ``max(level * (y - q), (level - 1) * (y - q))``; at 0.5 half the absolute error. For
    several levels use ``jax.vmap`` over both.

    Args:
      quantiles: the predicted quantiles ``(*batch)``.
      targets: the observed values ``(*batch)``.
      level: the level of the quantile, between 0 and 1.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in the units of the targets, lower is better; NaN without examples.

    Raises:
      ValueError: if ``level`` is not between 0 and 1; a JAX array gives NaN.
      TypeError: if it is not a real number.

    References:
      Koenker, Bassett, `Regression quantiles <https://doi.org/10.2307/1913643>`_,
      Econometrica 1978.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import pinball_loss
      >>> float(pinball_loss(jnp.array([1.0, 1.0]), jnp.array([3.0, 0.0]), level=0.75))
      0.875
    """
    return _pinball(quantiles, targets, as_level(level, name="level"), weights)


@compiled(differing=("targets", "quantiles"))
def _pinball(
    quantiles: ArrayLike,
    targets: ArrayLike,
    level: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    quantiles, targets, counts = as_examples(
        weights, quantiles=quantiles, targets=targets
    )
    error, q = targets - quantiles, jnp.asarray(level, targets.dtype)
    score = jnp.maximum(q * error, (q - 1) * error)
    return weighted_mean(score, counts)
