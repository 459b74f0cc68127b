"""Ranks in which equal values share a place, and how much weight lies below them."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxdrop._typing import Array


class Ranking(NamedTuple):
    """Values in ascending order, and for each the run of values equal to it.

    Attributes:
      order: the permutation that sorts the values.
      first: for each value, in the order given, how many values are smaller.
      last: for each value, how many are smaller or equal.
    """

    order: Array
    first: Array
    last: Array

    def weight_below(self, weights: Array, /) -> tuple[Array, Array]:
        """The total weight of smaller values, and of smaller or equal values."""
        total = jnp.cumsum(weights[self.order])
        total = jnp.concatenate([jnp.zeros(1, weights.dtype), total])
        return total[self.first], total[self.last]


def rank(values: Array, /) -> Ranking:
    """Ranks ``(N,)`` values; the order of equal values is arbitrary."""
    order = jnp.argsort(values)
    ascending = values[order]
    first = jnp.searchsorted(ascending, values, side="left")
    last = jnp.searchsorted(ascending, values, side="right")
    return Ranking(order, first, last)
