"""Detection: how well a score separates positives from negatives."""

import jax.numpy as jnp
import numpy as np

from jaxdrop._errors import named
from jaxdrop._typing import Array, ArrayLike
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import (
    as_examples,
    as_level,
    poison,
    weighted,
)
from jaxdrop.metrics._ranks import rank


@named
@compiled(ordered=("scores",))
def auroc(
    scores: ArrayLike, labels: ArrayLike, /, *, weights: ArrayLike | None = None
) -> Array:
    """The probability that a positive example has a higher score than a negative one.

    The area under the receiver operating characteristic; a tie counts one half.

    Args:
      scores: ``(*batch)``: higher means positive; any real numbers. To detect inputs
        that are out of distribution, an uncertainty.
      labels: ``(*batch)``: 1 or true for positives, 0 or false for negatives.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``; NaN if there are no positives or no negatives.

    References:
      Hanley, McNeil, `The meaning and use of the area under a ROC curve
      <https://doi.org/10.1148/radiology.143.1.7063747>`_, Radiology 1982.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import auroc
      >>> labels = jnp.array([False, False, True, True])
      >>> float(auroc(jnp.array([0.1, 0.4, 0.35, 0.8]), labels))
      0.75
    """
    scores, positive, negative = _sides(scores, labels, weights)
    below, through = rank(scores).weight_below(negative)
    share_below = (below + through) / (2 * negative.sum())
    area = weighted(share_below, positive).sum() / positive.sum()
    return poison(area, ~jnp.isnan(positive.sum() + negative.sum()))


@named
@compiled(ordered=("scores",))
def average_precision(
    scores: ArrayLike, labels: ArrayLike, /, *, weights: ArrayLike | None = None
) -> Array:
    """The area under the precision-recall curve, as a sum of steps.

    ``sum_k (R_k - R_(k-1)) P_k`` over the thresholds; no interpolation. Equal scores
    share a threshold.

    Args:
      scores: ``(*batch)``: higher means positive; any real numbers.
      labels: ``(*batch)``: 1 or true for positives, 0 or false for negatives.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``; NaN if there are no positives.

    References:
      Davis, Goadrich, `The relationship between precision-recall and ROC curves
      <https://doi.org/10.1145/1143844.1143874>`_, ICML 2006.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import average_precision
      >>> labels = jnp.array([False, False, True, True])
      >>> f"{average_precision(jnp.array([0.1, 0.4, 0.35, 0.8]), labels):.4f}"
      '0.8333'
    """
    hits, alarms, positive = _at_thresholds(scores, labels, weights)
    precision = hits / (hits + alarms)
    area = weighted(precision, positive).sum() / positive.sum()
    return poison(area, ~jnp.isnan(hits.sum() + alarms.sum()))


@named
def fpr_at_tpr(
    scores: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    tpr: ArrayLike = 0.95,
    weights: ArrayLike | None = None,
) -> Array:
    """The false positive rate at a given true positive rate.

    ``min {FPR : TPR >= tpr}`` over the thresholds of the scores.

    Args:
      scores: ``(*batch)``: higher means positive; any real numbers.
      labels: ``(*batch)``: 1 or true for positives, 0 or false for negatives.
      tpr: the least true positive rate, above 0 and at most 1.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``; NaN if there are no positives or no negatives.

    Raises:
      ValueError: if ``tpr`` is not in that range; a JAX array gives NaN.
      TypeError: if it is not a real number.

    References:
      Liang, Li, Srikant, `Enhancing the reliability of out-of-distribution image
      detection in neural networks <https://arxiv.org/abs/1706.02690>`_, ICLR 2018.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import fpr_at_tpr
      >>> scores = jnp.array([0.9, 0.8, 0.3, 0.7, 0.2])
      >>> labels = jnp.array([1, 1, 1, 0, 0])
      >>> float(fpr_at_tpr(scores, labels))  # finding 0.3 also flags 0.7
      0.5
    """
    return _fpr(scores, labels, as_level(tpr, name="tpr", ends="1"), weights)


@compiled(ordered=("scores",))
def _fpr(
    scores: ArrayLike,
    labels: ArrayLike,
    tpr: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    hits, alarms, _ = _at_thresholds(scores, labels, weights)
    level = jnp.asarray(tpr, hits.dtype)
    positives = hits.max(initial=0)  # at the lowest threshold the rate is 1
    found = hits / positives
    negatives = alarms.max(initial=0)
    rounding = 4 * float(np.finfo(found.dtype).eps)
    enough = jnp.where(level < 1, found >= level - rounding, hits == positives)
    false = jnp.where(enough, alarms, jnp.inf).min(initial=jnp.inf) / negatives
    known = (positives > 0) & (negatives > 0) & ~jnp.isnan(level)
    return poison(false, known & ~jnp.isnan(hits.sum() + alarms.sum()))


def _sides(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Scores, and the weight of each example as a positive and as a negative.

    A label that is neither 0 nor 1, or a score that is NaN, makes a weight NaN.
    """
    of_class = jnp.asarray(labels)
    if of_class.dtype == jnp.bool_:
        of_class = of_class.astype(jnp.int32)
    neither = (of_class != 0) & (of_class != 1)
    side = jnp.where(neither, np.float32(-1), of_class.astype(np.float32))
    scores, side, counts = as_examples(weights, scores=scores, labels=side)
    valid = (side >= 0) & ~jnp.isnan(scores)
    counts = poison(counts, valid | (counts == 0))
    return scores, jnp.where(side == 0, 0, counts), jnp.where(side == 1, 0, counts)


def _at_thresholds(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """True and false positives per threshold, and the weight of the positives."""
    scores, positive, negative = _sides(scores, labels, weights)
    ranking = rank(-scores)
    _, hits = ranking.weight_below(positive)
    _, alarms = ranking.weight_below(negative)
    return hits, alarms, positive
