"""Standard errors of functions of means, by the jackknife over groups of samples."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxdrop._typing import Array, PyTree
from jaxdrop.mc._reducer import Stats, along, safe_sqrt, unless


class Groups(NamedTuple):
    """Sums over samples that are assigned to groups in turn.

    Attributes:
      number: ``(groups,)``: the number of samples of each group.
      sums: a tree of ``(groups, ...)`` arrays.
    """

    number: Array
    sums: PyTree


def no_groups(num_groups: int, sums: PyTree, /) -> Groups:
    """Empty groups, for a tree of arrays like ``sums``."""
    empty = jax.tree.map(lambda x: jnp.zeros((num_groups, *x.shape), x.dtype), sums)
    return Groups(jnp.zeros(num_groups, jnp.int32), empty)


def deal(groups: Groups, start: Array, samples: PyTree, valid: Array, /) -> Groups:
    """Adds valid samples, numbered from ``start``, to one group after another.

    Args:
      groups: the groups so far.
      start: the number of the first sample.
      samples: a tree of ``(k, ...)`` arrays, 0 where a sample is not valid.
      valid: ``(k,)``: which samples are valid.
    """
    place = start + jnp.arange(valid.size, dtype=jnp.int32)
    index = place % groups.number.size

    def add(total: Array, x: Array) -> Array:
        return total.at[index].add(x, out_sharding=_sharding_of(x))

    return Groups(
        add(groups.number, valid.astype(jnp.int32)),
        jax.tree.map(add, groups.sums, samples),
    )


def merge_groups(a: Groups, b: Groups, start: Array, /) -> Groups:
    """Adds groups whose samples were numbered from 0 as if numbered from ``start``.

    So the group of a sample depends on its number only, not on the device that drew it.
    """
    if not a.number.size:
        return a
    shift = lambda x, y: x + jnp.roll(y, start % a.number.size, axis=0)
    merged: Groups = jax.tree.map(shift, a, b)
    return merged


def jackknife_errors(groups: Groups, statistics: Callable[[PyTree], Stats], /) -> Stats:
    """Standard errors by the jackknife, which leaves out one group at a time.

    Args:
      groups: sums over groups of samples, which may be empty or of unequal sizes.
      statistics: a function of a tree of means that returns statistics of them.

    Returns:
      The standard errors by name; NaN where fewer than two groups have samples.

    References:
      Busing, Meijer, van der Leeden, `Delete-m jackknife for unequal m
      <https://doi.org/10.1023/A:1008800423698>`_, Statistics and Computing 1999.
    """
    total = jax.tree.map(lambda s: s.sum(0), groups.sums)
    sizes = groups.number.astype(jnp.float32)
    size = sizes.sum()
    filled = sizes > 0
    number = filled.astype(jnp.float32).sum()

    def without(index: Array) -> Stats:
        left = jnp.maximum(size - sizes[index], 1)
        means = lambda t, s: (t - s[index]) / left.astype(t.dtype)
        return statistics(jax.tree.map(means, total, groups.sums))

    left_out = jax.lax.map(without, jnp.arange(sizes.size))
    whole = statistics(jax.tree.map(lambda t: t / size.astype(t.dtype), total))
    some_left = filled & (sizes < size)
    times = jnp.where(some_left, size / jnp.maximum(sizes, 1), 2)  # h = n / m

    def error(all_of_them: Array, one_less: Array) -> Array:
        h, used = (along(v, one_less).astype(one_less.dtype) for v in (times, filled))
        all_of_them = all_of_them[None]
        share = number.astype(h.dtype) * all_of_them
        estimate = share - ((1 - 1 / h) * one_less * used).sum(0, keepdims=True)
        pseudo = h * all_of_them - (h - 1) * one_less
        squares = jnp.square(pseudo - estimate) / (h - 1)
        variance = (jnp.where(used > 0, squares, 0)).sum(0) / number.astype(h.dtype)
        return unless(number <= 1, safe_sqrt(variance))

    errors: Stats = jax.tree.map(error, whole, left_out)
    return errors


def _sharding_of(samples: Array, /) -> PartitionSpec | None:
    """The sharding of an array into which ``(k, ...)`` samples are written, or None."""
    spec = jax.typeof(samples).sharding.spec
    if not any(spec):
        return None
    return PartitionSpec(None, *spec[1:])
