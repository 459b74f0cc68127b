"""Ranks in which equal values share a place, and how much weight lies below them."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

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
    """Ranks ``(N,)`` values; the order of equal values is arbitrary.

    The number of values may be symbolic, as in ``jax.export``.
    """
    order = jnp.argsort(values)
    ascending = values[order]
    number = values.shape[0]
    position = jnp.arange(number, dtype=jnp.int32)
    before = ascending[jnp.maximum(position - 1, 0)]
    after = ascending[jnp.minimum(position + 1, number - 1)]
    starts = (ascending != before) | (position == 0)
    ends = (ascending != after) | (position == number - 1)
    first = lax.cummax(jnp.where(starts, position, 0))
    last = lax.cummin(jnp.where(ends, position + 1, number), reverse=True)
    place = jnp.argsort(order)
    return Ranking(order, first[place], last[place])
