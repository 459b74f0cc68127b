"""Proper scores of class probabilities: lowest, on average, for the true ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop._errors import named
from jaxdrop._typing import Array
from jaxdrop.metrics._bins import uniform_bins
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import (
    as_classified,
    at_label,
    is_label,
    is_probability,
    poison,
    weighted,
    weighted_mean,
)


@named
@compiled()
def negative_log_likelihood(
    logits: ArrayLike, labels: ArrayLike, /, *, weights: ArrayLike | None = None
) -> Array:
    """The mean of minus the log-probability of the true class, in nats.

    For a Monte-Carlo prediction pass the logarithm of the mean probabilities,
    ``stats["log_mean"]``: this gives the likelihood of the prediction. The mean of the
    samples' own scores is never smaller.

    Args:
      logits: ``(*batch, classes)``: logits or log-probabilities. Probabilities would
        not do: one below 1e-38 is 0 in float32, while its logarithm is finite.
      labels: the true classes ``(*batch)``, integers.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar; infinite if a true class has the probability 0, NaN without examples.

    References:
      Gneiting, Raftery, `Strictly proper scoring rules, prediction, and estimation
      <https://doi.org/10.1198/016214506000001437>`_, JASA 2007.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop.metrics import negative_log_likelihood
      >>> score = negative_log_likelihood(jnp.zeros((3, 10)), jnp.array([0, 4, 9]))
      >>> bool(jnp.isclose(score, jnp.log(10.0)))
      True
    """
    table, labels, counts = as_classified(logits, labels, weights, name="logits")
    log_probs = jax.nn.log_softmax(table, axis=-1)
    return weighted_mean(-at_label(log_probs, labels), counts)


@named
@compiled()
def brier_score(
    probs: ArrayLike, labels: ArrayLike, /, *, weights: ArrayLike | None = None
) -> Array:
    """The mean squared distance of the probabilities from one-hot labels.

    Summed over classes, as Brier defined it: between 0 and 2. For two classes it is
    twice the score that is often reported for the probability of one of them.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the true classes ``(*batch)``, integers.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 2]``; NaN without examples.

    References:
      Brier, `Verification of forecasts expressed in terms of probability
      <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>`_, 1950.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import brier_score
      >>> right_and_wrong = jnp.array([[1.0, 0.0], [1.0, 0.0]])
      >>> float(brier_score(right_and_wrong, jnp.array([0, 1])))
      1.0
    """
    table, labels, counts = as_classified(probs, labels, weights, name="probs")
    table = poison(table, is_probability(table))
    scores = jnp.square(table - _truth(table, labels)).sum(-1)
    return weighted_mean(scores, counts)


class BrierDecomposition(NamedTuple):
    """The parts of a Brier score, of which ``score`` is the sum.

    Attributes:
      reliability: the squared distance of each bin's frequency from its probability.
        Lower is better; 0 if calibrated.
      resolution: the variance of the bins' frequencies. Higher is better.
      uncertainty: the score of predicting the frequencies of the classes every time.
      within_bins: the part that is lost by treating the probabilities of a bin as one.
    """

    reliability: Array
    resolution: Array
    uncertainty: Array
    within_bins: Array

    @property
    def score(self) -> Array:
        """The Brier score."""
        return self.reliability - self.resolution + self.uncertainty + self.within_bins


@named
@compiled("num_bins")
def brier_decomposition(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
) -> BrierDecomposition:
    """Splits the Brier score into reliability, resolution and uncertainty.

    The parts of each class's probability, in bins of equal width, summed over classes.
    Murphy's identity holds for forecasts that take few values; the term for the
    variation within a bin makes it exact for all.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the number of bins of equal width in ``[0, 1]``. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      The parts; ``reliability - resolution + uncertainty + within_bins`` is
      :func:`brier_score`.

    References:
      Murphy, `A new vector partition of the probability score
      <https://doi.org/10.1175/1520-0450(1973)012%3C0595:ANVPOT%3E2.0.CO;2>`_, 1973.
      Stephenson, Coelho, Jolliffe, `Two extra components in the Brier score
      decomposition <https://doi.org/10.1175/2007WAF2006116.1>`_, 2008.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import brier_decomposition
      >>> probs = jnp.array([[0.75, 0.25]] * 4)
      >>> parts = brier_decomposition(probs, jnp.array([0, 0, 0, 1]))
      >>> [round(float(part), 6) for part in parts]  # calibrated, but says one thing
      [0.0, 0.0, 0.375, 0.0]
    """
    table, labels, counts = as_classified(probs, labels, weights, name="probs")
    table = poison(table, is_probability(table))
    of_classes = jax.vmap(_decompose, in_axes=(1, 1, None, None))
    parts = of_classes(table, _truth(table, labels), counts, num_bins)
    return BrierDecomposition(*(part.sum() for part in parts))


def _decompose(
    p: Array, hit: Array, weights: Array, num_bins: int
) -> tuple[Array, Array, Array, Array]:
    """The four parts for one class of probability ``p``."""
    bins = uniform_bins(p, num_bins)
    mass = bins.sum(weights)
    safe = jnp.where(mass == 0, 1, mass)
    said = bins.sum(weighted(p, weights)) / safe
    seen = bins.sum(weighted(hit, weights)) / safe
    base = weighted_mean(hit, weights)
    share = mass / weights.sum()
    spread, surprise = p - said[bins.index], hit - seen[bins.index]
    return (
        (share * jnp.square(said - seen)).sum(),
        (share * jnp.square(seen - base)).sum(),
        base * (1 - base),
        weighted_mean(spread * (spread - 2 * surprise), weights),
    )


def _truth(table: Array, labels: Array) -> Array:
    """One-hot labels in the shape of ``table``; NaN where it is not a class."""
    classes = jnp.arange(table.shape[-1], dtype=labels.dtype)
    hit = (labels[:, None] == classes[None, :]).astype(table.dtype)
    return poison(hit, is_label(labels, table.shape[-1])[:, None])
