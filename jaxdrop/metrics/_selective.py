"""Selective prediction: abstaining from the least certain examples."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdrop._checks import check_choice
from jaxdrop._errors import named
from jaxdrop._numbers import as_scalar
from jaxdrop._typing import Array, ArrayLike
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import as_examples, as_level, poison, weighted
from jaxdrop.metrics._ranks import rank


class RiskCoverage(NamedTuple):
    """The mean loss of the most confident examples, by their share.

    Attributes:
      coverage: ``(N,)``, ascending to 1: the share of examples that are answered.
      risk: ``(N,)``: the mean loss of these.
    """

    coverage: Array
    risk: Array

    def coverage_at(self, risk: ArrayLike, /) -> Array:
        """The largest share that can be answered at no more than this mean loss."""
        limit = jnp.asarray(as_scalar(risk, name="risk"), self.risk.dtype)
        good = self.risk <= limit
        best = jnp.where(good, self.coverage, 0).max(initial=0)
        answered = self.coverage > 0  # without a weight the risk is undefined
        known = answered.any() & ~(answered & jnp.isnan(self.risk)).any()
        return poison(best, known & ~jnp.isnan(limit))


class AccuracyRejection(NamedTuple):
    """The accuracy on the examples that are kept, by the share that is rejected.

    Attributes:
      rejected: ``(N,)``, ascending from 0: the share of examples that are rejected.
      accuracy: ``(N,)``: the accuracy on the remaining ones.
    """

    rejected: Array
    accuracy: Array

    def accuracy_at(self, rejected: ArrayLike, /) -> Array:
        """The accuracy on the rest when at least this share of examples is rejected.

        A number must be at least 0 and below 1; a JAX array outside gives NaN, and so
        does a share that no point of the curve reaches.
        """
        share = jnp.asarray(
            as_level(rejected, name="rejected", ends="0"), self.rejected.dtype
        )
        rounding = 4 * float(np.finfo(self.rejected.dtype).eps)
        enough = self.rejected >= share - rounding
        if not enough.size:
            return jnp.full((), jnp.nan, self.accuracy.dtype)
        return poison(self.accuracy[enough.argmax()], enough.any() & ~jnp.isnan(share))


@named
@compiled(ordered=("confidence",))
def risk_coverage(
    confidence: ArrayLike, losses: ArrayLike, /, *, weights: ArrayLike | None = None
) -> RiskCoverage:
    """Sorts by confidence, and gives the mean loss of the first ``k`` for every ``k``.

    Examples of equal confidence are not ordered: within a run of them the risk is its
    average over all orders.

    Args:
      confidence: ``(*batch)``: higher is more certain, for example the largest
        probability, or minus an entropy.
      losses: ``(*batch)``: the loss of each prediction: 1 for an error, or any other.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      The curve, one point per example.

    References:
      El-Yaniv, Wiener, `On the foundations of noise-free selective classification
      <https://jmlr.org/papers/v11/el-yaniv10a.html>`_, JMLR 2010.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import risk_coverage
      >>> confidence = jnp.array([0.9, 0.8, 0.7, 0.6, 0.5])
      >>> curve = risk_coverage(confidence, jnp.array([0, 1, 1, 1, 1]))
      >>> [f"{risk:.2f}" for risk in curve.risk]
      ['0.00', '0.50', '0.67', '0.75', '0.80']
      >>> f"{curve.coverage_at(0.3):.1f}"
      '0.2'
    """
    confidence, losses, counts = as_examples(
        weights, confidence=confidence, losses=losses
    )
    mass, risk, _ = _curve(confidence, losses, counts)
    return RiskCoverage(_share(mass), risk)


@named
@compiled("kind", ordered=("confidence",))
def aurc(
    confidence: ArrayLike,
    losses: ArrayLike,
    /,
    *,
    kind: str = "risk",
    weights: ArrayLike | None = None,
) -> Array:
    """The area under the risk-coverage curve.

    The mean of the curve over its points, ``1/N sum_k r_k``, without a trapezoid.

    Args:
      confidence: ``(*batch)``: higher is more certain.
      losses: ``(*batch)``: the loss of each prediction: 1 for an error, or any other.
      kind: ``"risk"``; ``"excess"``, which subtracts the area of the best possible
        order, by the losses themselves; or ``"generalized"``, where the risk is
        multiplied by its coverage, so that the first few examples weigh no more than
        others. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar, lower is better; NaN without examples.

    References:
      Geifman, Uziel, El-Yaniv, `Bias-reduced uncertainty estimation for deep neural
      classifiers <https://arxiv.org/abs/1805.08206>`_, ICLR 2019. Traub, Bungert, Lüth,
      Baumgartner, Maier-Hein, Maier-Hein, Jäger, `Overcoming common flaws in the
      evaluation of selective classification systems
      <https://arxiv.org/abs/2407.01032>`_, NeurIPS 2024.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import aurc
      >>> confidence = jnp.array([0.9, 0.8, 0.7, 0.6, 0.5])
      >>> losses = jnp.array([0, 1, 1, 1, 1])
      >>> f"{aurc(confidence, losses):.4f}"
      '0.5433'
      >>> f"{aurc(confidence, losses, kind='excess'):.4f}"  # the order is perfect
      '0.0000'
    """
    check_choice(kind, ("risk", "excess", "generalized"), name="kind")
    confidence, losses, counts = as_examples(
        weights, confidence=confidence, losses=losses
    )
    if kind == "generalized":
        return _area(confidence, losses, counts, generalized=True)
    area = _area(confidence, losses, counts)
    return area - _area(-losses, losses, counts) if kind == "excess" else area


@named
@compiled(ordered=("confidence",))
def accuracy_rejection(
    confidence: ArrayLike, correct: ArrayLike, /, *, weights: ArrayLike | None = None
) -> AccuracyRejection:
    """The accuracy that remains when the least confident examples are rejected.

    Args:
      confidence: ``(*batch)``: higher is more certain.
      correct: ``(*batch)``: true or 1 where the prediction is correct, or a degree of
        correctness from 0 to 1; any other number gives NaN.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      The curve, one point per example, from nothing rejected to all but one.

    References:
      Nadeem, Zucker, Hanczar, `Accuracy-rejection curves (ARCs) for comparing
      classification methods with a reject option
      <https://proceedings.mlr.press/v8/nadeem10a.html>`_, MLSB 2009.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import accuracy_rejection
      >>> confidence = jnp.array([0.5, 0.9, 0.7, 0.6])
      >>> curve = accuracy_rejection(confidence, jnp.array([False, True, True, True]))
      >>> curve.rejected.tolist(), curve.accuracy.tolist()
      ([0.0, 0.25, 0.5, 0.75], [0.75, 1.0, 1.0, 1.0])
      >>> float(curve.accuracy_at(0.1))  # one of four is rejected
      1.0
    """
    confidence, correct, counts = as_examples(
        weights, confidence=confidence, correct=correct
    )
    correct = poison(correct, (correct >= 0) & (correct <= 1))
    mass, risk, _ = _curve(confidence, 1 - correct, counts)
    rejected = (mass[-1:] - mass) / mass[-1:]  # of 1 - coverage, 0 may be rounded
    return AccuracyRejection(rejected[::-1], 1 - risk[::-1])


def _area(
    confidence: Array, losses: Array, weights: Array, *, generalized: bool = False
) -> Array:
    mass, risk, step = _curve(confidence, losses, weights)
    coverage = _share(mass)
    return weighted(risk * coverage if generalized else risk, step).sum() / step.sum()


def _share(mass: Array) -> Array:
    """Cumulative weights as shares of the last one, whose share is 1 exactly.

    Compilers divide by multiplying with a rounded inverse.
    """
    total = mass[-1:]
    return jnp.where((mass == total) & (total > 0), 1, mass / total)


def _curve(
    confidence: Array, losses: Array, weights: Array
) -> tuple[Array, Array, Array]:
    """Weight answered and risk by decreasing confidence, and the weight of a point."""
    losses = poison(losses, ~jnp.isnan(confidence))
    ranking = rank(-confidence)
    order = ranking.order
    step = weights[order]
    mass = jnp.cumsum(step)
    mass_before, mass_through = (m[order] for m in ranking.weight_below(weights))
    cost = weighted(losses, weights)
    cost_before, cost_through = (c[order] for c in ranking.weight_below(cost))
    run = mass_through - mass_before
    into = (mass - mass_before) / jnp.where(run > 0, run, 1)
    total = cost_before + into * (cost_through - cost_before)
    return mass, total / mass, step
