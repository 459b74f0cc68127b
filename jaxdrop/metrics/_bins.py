"""Bins: which one a value falls into, and sums within each."""

import dataclasses
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._typing import Array
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
    ``k / B`` opens bin ``k`` for every ``k``, which ``floor(value * B)`` does not do.
    """
    num_bins = as_count(num_bins, name="num_bins")
    edges = jnp.asarray(np.arange(1, num_bins) / num_bins, values.dtype)
    index = jnp.searchsorted(edges, values, side="right", method="compare_all")
    return Bins(index.astype(jnp.int32), num_bins)


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


def as_count(count: int, /, *, name: str) -> int:
    """Returns how many there are of something, at least one, or raises by name."""
    if isinstance(count, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, got {count!r}.")
    try:
        whole = operator.index(count)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {count!r}.") from None
    if whole < 1:
        raise ValueError(f"{name} must be at least 1, got {count}.")
    return whole
