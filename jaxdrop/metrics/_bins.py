"""Bins: the bin of each value, and sums over each bin."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._checks import as_count
from jaxdrop._typing import Array
from jaxdrop.metrics._examples import weighted
from jaxdrop.metrics._ranks import rank


@dataclasses.dataclass(frozen=True)
class Bins:
    """The bin of each of ``(N,)`` values."""

    index: Array
    count: int

    def sum(self, values: Array, /) -> Array:
        """Sums values by bin, in square-root-many partial sums.

        A running float32 sum of a million equal confidences is off in the fourth digit;
        a thousand sums of a thousand each, in the sixth.
        """
        rows = max(1, math.isqrt(values.size))
        row = jnp.arange(values.size, dtype=self.index.dtype) % rows
        segment = self.index * rows + row
        partial = jax.ops.segment_sum(values, segment, self.count * rows)
        return partial.reshape(self.count, rows).sum(1)


def uniform_bins(values: Array, num_bins: int, /) -> Bins:
    """Bins of equal width: ``[k/B, (k+1)/B)``, the last one closed on both sides.

    Values are compared with the edges, rounded as the values are: a confidence of
    ``k / B`` is in bin ``k`` for every ``k``, which ``floor(value * B)`` does not
    ensure.
    """
    num_bins = as_count(num_bins, name="num_bins")
    edges = jnp.asarray(np.arange(1, num_bins) / num_bins, values.dtype)
    reached = ~(values[:, None] < edges[None])  # all of them by NaN
    return Bins(reached.sum(-1, dtype=jnp.int32), num_bins)


def equal_mass_bins(values: Array, weights: Array, num_bins: int, /) -> Bins:
    """Bins that each hold the same weight.

    Equal values share a bin, that of the middle of their ranks, so that the order of
    examples does not matter.
    """
    num_bins = as_count(num_bins, name="num_bins")
    below, through = rank(values).weight_below(weights)
    middle = (below + through) / (2 * weights.sum())
    index = jnp.clip(jnp.floor(middle * num_bins), 0, num_bins - 1)
    return Bins(index.astype(jnp.int32), num_bins)


class CalibrationBins(NamedTuple):
    """Sums over the examples of each bin, from which calibration errors are computed.

    Bins of two batches add up: ``jax.tree.map(jnp.add, a, b)`` are the bins of both.

    Attributes:
      weight: ``(num_bins,)``: the number of examples, or their total weight.
      squared_weight: ``(num_bins,)``: the sum of the squared weights.
      confidence: ``(num_bins,)``: the sum of the confidences.
      correct: ``(num_bins,)``: the number or weight of correct predictions.
    """

    weight: Array
    squared_weight: Array
    confidence: Array
    correct: Array

    @property
    def mean_confidence(self) -> Array:
        """The mean confidence of each bin; NaN for an empty one."""
        return self.confidence / self.weight

    @property
    def accuracy(self) -> Array:
        """The share of right predictions in each bin; NaN for an empty one."""
        return self.correct / self.weight

    @property
    def gap(self) -> Array:
        """The distance of accuracy and confidence in each bin; 0 for an empty one."""
        gap = jnp.abs(self.accuracy - self.mean_confidence)
        return jnp.where(self.weight == 0, 0, gap)

    @property
    def expected_error(self) -> Array:
        """The mean gap over examples."""
        return (self.weight * self.gap).sum() / self.weight.sum()

    @property
    def root_mean_squared_error(self) -> Array:
        """The root of the mean squared gap over examples."""
        return jnp.sqrt((self.weight * self.gap**2).sum() / self.weight.sum())

    @property
    def maximum_error(self) -> Array:
        """The largest gap of any bin that is not empty."""
        return jnp.where(self.weight.sum() > 0, self.gap.max(), jnp.nan)

    @property
    def debiased_squared_error(self) -> Array:
        """The mean squared gap, less the part that is due to sampling noise."""
        share = self.squared_weight / self.weight**2
        chance = self.accuracy * (1 - self.accuracy) * share / (1 - share)
        one = (
            0 * self.gap
        )  # one example says nothing about the variance, unless its gap is NaN
        terms = jnp.where(share < 1, self.gap**2 - chance, one)
        return (self.weight * terms).sum() / self.weight.sum()


def fill(
    bins: Bins, confidence: Array, correct: Array, weights: Array
) -> CalibrationBins:
    """Sums confidence, correctness and weight over the examples of each bin."""
    return CalibrationBins(
        weight=bins.sum(weights),
        squared_weight=bins.sum(jnp.square(weights)),
        confidence=bins.sum(weighted(confidence, weights)),
        correct=bins.sum(weighted(correct, weights)),
    )
