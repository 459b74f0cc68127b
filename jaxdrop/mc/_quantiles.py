"""Quantiles of samples: exact for few, and for many approximate, in fixed memory."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxdrop._checks import as_count
from jaxdrop._errors import named_with_results
from jaxdrop._loops import as_carry
from jaxdrop._masks import automatic, sharding_of, unspread
from jaxdrop._numbers import as_host
from jaxdrop._typing import Array
from jaxdrop.mc._reducer import (
    Of,
    Reducer,
    Stats,
    along,
    count_of,
    float_of,
    leafwise,
    unless,
    widened,
)


class Sketch(NamedTuple):
    """Recent samples, and a summary of older ones by points of equal weight.

    Attributes:
      recent: ``(capacity, ...)``: samples, of which the first ``filled`` are valid.
      filled: the number of recent samples.
      points: ``(capacity, ...)``: ascending points that summarize ``folded`` samples.
      folded: the number of summarized samples.
      missing: the number of samples that were NaN.
    """

    recent: Array
    filled: Array
    points: Array
    folded: Array
    missing: Array


@named_with_results
def quantiles(
    levels: Sequence[float] = (0.05, 0.5, 0.95), *, capacity: int = 512, of: Of = None
) -> Reducer:
    """Quantiles of every array of the outputs.

    For up to ``capacity`` samples they are exact, equal to those of ``numpy.quantile``.
    With more samples the older ones are replaced by ``capacity`` points of equal
    weight; the error in the level of a quantile is at most a few parts in ``capacity``.

    Args:
      levels: the levels of the quantiles, between 0 and 1. Static.
      capacity: the number of samples that are stored. The memory is twice that of as
        many outputs. Static.
      of: the part of the outputs: a key or attribute, an index, or a function. Static.

    Returns:
      A reducer with the statistic ``quantiles``, ``(levels, *output)``, NaN where a
      sample is NaN, and its standard error: half the difference of the quantiles at
      levels one standard error above and below.

    References:
      Woodruff, `Confidence intervals for medians and other position measures
      <https://doi.org/10.1080/01621459.1952.10483443>`_, JASA 1952. Greenwald, Khanna,
      `Space-efficient online computation of quantile summaries
      <https://doi.org/10.1145/375663.375670>`_, SIGMOD 2001 (the problem; the summary
      here is simpler).

    Examples:
      >>> import jax
      >>> from jaxdrop import mc
      >>> fn = lambda key: jax.random.normal(key, (3,))
      >>> result = mc.predict(fn, jax.random.key(0), num_samples=100,
      ...                     reducers=mc.quantiles((0.1, 0.9)))
      >>> low, high = result.stats["quantiles"]
      >>> bool((low < high).all())
      True
    """
    levels = _checked_levels(levels)
    capacity = as_count(capacity, name="capacity")

    def init(output: jax.ShapeDtypeStruct) -> Sketch:
        empty = jnp.zeros((capacity, *output.shape), float_of(output.dtype))
        none = jnp.zeros((), jnp.int32)
        return Sketch(empty, none, empty, none, jnp.zeros(output.shape, jnp.int32))

    def update(state: Sketch, samples: Array, valid: Array) -> Sketch:
        samples = widened(samples)
        for start in range(0, len(samples), capacity):
            here = slice(start, start + capacity)
            state = _append(state, samples[here], valid[here])
        return state

    def merge(a: Sketch, b: Sketch) -> Sketch:
        # Both branches must return one type: that of what a and b make together.
        a = as_carry(lambda a: jax.tree.map(jnp.add, a, b), a)
        values, weights = _both(_points(a), _points(b))
        points = lax.cond(
            b.folded > 0,
            lambda: _evenly(values, weights, capacity),
            lambda: a.points,
        )
        merged = a._replace(
            points=points,
            folded=a.folded + b.folded,
            missing=a.missing + b.missing,
        )
        return _append(
            merged, b.recent, jnp.arange(capacity, dtype=jnp.int32) < b.filled
        )

    def at(state: Sketch, wanted: Array) -> Array:
        found = _interpolate(*_both(_points(state), _recent(state)), wanted)
        unknown = (state.filled + state.folded == 0) | (state.missing > 0)
        return unless(unknown[None], found)

    def as_levels(state: Sketch) -> Array:
        return jnp.asarray(levels, state.points.dtype)

    def finalize(state: Sketch) -> Stats:
        return {"quantiles": at(state, as_levels(state))}

    def stderr(state: Sketch) -> Stats:
        q = as_levels(state)
        count = (state.filled + state.folded).astype(q.dtype)
        step = jnp.sqrt(q * (1 - q) / count)
        low, high = (at(state, jnp.clip(q + s, 0, 1)) for s in (-step, step))
        ends = (q == 0) | (q == 1)  # their errors cannot be estimated from samples
        error = unless(count <= 1, (high - low) / 2)
        return {"quantiles": unless(along(ends, error), error)}

    of_array = Reducer(init, update, merge, finalize, stderr)
    return leafwise(of_array, Sketch, of=of)


def _checked_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Returns levels as Python floats, or raises."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(levels)):
        raise TypeError(
            "levels are static, and must be known before tracing, got traced numbers."
        )
    numbers = as_host(levels, "levels")
    if numbers.ndim != 1 or not numbers.size or jnp.iscomplexobj(numbers):
        raise TypeError(
            "levels must be a sequence of numbers between 0 and 1, such as (0.5,), got "
            f"{levels!r}."
        )
    if not all(0 <= level <= 1 for level in numbers):
        raise ValueError(f"levels must be in [0, 1], got {tuple(levels)}.")
    return tuple(map(float, numbers))


def _append(state: Sketch, samples: Array, valid: Array) -> Sketch:
    """Adds at most ``capacity`` samples, after summarizing all others if necessary."""
    capacity = len(state.recent)
    number = count_of(valid)
    absent = jnp.isnan(samples) & along(valid, samples)
    missing = absent.astype(jnp.int32).sum(0, dtype=jnp.int32)
    added = Sketch(samples[:1], number, samples[:1], number, missing)
    # The first state is the same on all devices, and samples are not: see as_carry.
    state = as_carry(lambda state: jax.tree.map(jnp.add, state, added), state)
    state = lax.cond(state.filled + number > capacity, _fold, lambda s: s, state)
    before = jnp.cumsum(valid.astype(jnp.int32), dtype=jnp.int32) - 1
    place = jnp.where(valid, state.filled + before, capacity)
    spread = unspread(sharding_of(samples), (0,), ndim=samples.ndim)
    recent = state.recent.at[place].set(samples, mode="drop", out_sharding=spread)
    return state._replace(
        recent=recent,
        filled=state.filled + number,
        missing=state.missing + missing,
    )


def _fold(state: Sketch) -> Sketch:
    """Replaces all samples by points of equal weight."""
    values, weights = _both(_points(state), _recent(state))
    return state._replace(
        points=_evenly(values, weights, len(state.points)),
        folded=state.folded + state.filled,
        filled=jnp.zeros_like(state.filled),
    )


def _points(state: Sketch) -> tuple[Array, Array]:
    """The summarizing points, and their weights."""
    share = state.folded.astype(state.points.dtype) / len(state.points)
    return state.points, jnp.full(len(state.points), share)


def _recent(state: Sketch) -> tuple[Array, Array]:
    """The recent samples, and their weights: 1, or 0 for unused entries."""
    return state.recent, _is_filled(state).astype(state.recent.dtype)


def _is_filled(state: Sketch) -> Array:
    """Which of the recent samples are valid."""
    return jnp.arange(len(state.recent), dtype=jnp.int32) < state.filled


def _both(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Weighted values in ascending order along the first axis, unused entries last."""
    values = jnp.concatenate([a[0], b[0]])
    weights = jnp.concatenate([a[1], b[1]])
    weights = along(weights, values) + jnp.zeros_like(values)  # sharded as they are
    absent = (weights == 0).astype(jnp.int8)
    ordered = lax.sort((absent, values, weights), dimension=0, num_keys=2)
    return ordered[1], ordered[2]


def _evenly(values: Array, weights: Array, number: int) -> Array:
    """The quantiles at the midpoints of ``number`` equal intervals of levels."""

    def of_one(values: Array, weights: Array) -> Array:
        middles = (jnp.arange(number, dtype=values.dtype) + 0.5) / number
        through = jnp.cumsum(weights)
        index = jnp.searchsorted(through, middles * through[-1])
        return values[jnp.clip(index, 0, len(values) - 1)]

    return _over_entries(of_one, values, weights)


def _interpolate(values: Array, weights: Array, levels: Array) -> Array:
    """Quantiles of weighted values; for equal weights, those of ``numpy.quantile``."""

    def of_one(values: Array, weights: Array, levels: Array) -> Array:
        present = weights > 0
        through = jnp.cumsum(weights)
        last = jnp.maximum(present.astype(jnp.int32).sum() - 1, 0)
        middle = through - weights / 2
        begin, end = middle[0], middle[last]
        span = jnp.where(end > begin, end - begin, 1)
        place = jnp.where(present, (middle - begin) / span, 2)
        return jnp.interp(levels, place, jnp.where(present, values, values[last]))

    return _over_entries(of_one, values, weights, levels)


def _over_entries(
    of_one: Callable[..., Array], values: Array, weights: Array, *shared: Array
) -> Array:
    """Maps a function of ``(n,)`` values and weights over all other axes."""
    axes = (1, 1, *(None for _ in shared))
    for _ in values.shape[1:]:
        of_one = jax.vmap(of_one, in_axes=axes, out_axes=1)
    spread = unspread(sharding_of(values), (0,), ndim=values.ndim)
    return automatic(of_one, out_sharding=spread)(values, weights, *shared)
