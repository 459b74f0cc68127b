"""Reducers: statistics of samples, without storing the samples."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._errors import shown
from jaxdrop._typing import Array, PyTree

Stats: TypeAlias = dict[str, Any]

Of: TypeAlias = str | int | Callable[[PyTree], PyTree] | None
"""A part of the outputs: a key or an attribute, an index, a function; None for all."""


class Reducer(NamedTuple):
    """Five functions that compute statistics of samples without storing the samples.

    States can be merged in any order, so that samples can be distributed over devices,
    and sampling can be stopped and resumed.

    Attributes:
      init: takes the outputs of one sample, as shapes, and returns the state of no
        samples.
      update: takes a state, outputs with a leading axis of ``k`` samples, and booleans
        ``(k,)`` that mark the valid ones; returns the state that includes these. The
        values of samples that are not valid are arbitrary.
      merge: takes two states and returns the state of the samples of both.
      finalize: takes a state and returns statistics by name.
      stderr: takes a state and returns the Monte-Carlo standard errors of some of the
        statistics, under the same names.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Array], PyTree]
    merge: Callable[[PyTree, PyTree], PyTree]
    finalize: Callable[[PyTree], Stats]
    stderr: Callable[[PyTree], Stats]


def leafwise(reducer: Reducer, kind: type, /, *, of: Of = None) -> Reducer:
    """Applies a reducer of one array to every array of the outputs.

    Args:
      reducer: a reducer of a single array.
      kind: the type of its state, a NamedTuple.
      of: the part of the outputs to reduce.

    Returns:
      A reducer whose statistics have the tree of the outputs.
    """
    is_state = lambda node: isinstance(node, kind)

    def update(state: PyTree, outputs: PyTree, valid: Array) -> PyTree:
        updated = lambda samples, old: reducer.update(old, samples, valid)
        return jax.tree.map(updated, part(outputs, of), state)

    def merge(a: PyTree, b: PyTree) -> PyTree:
        return jax.tree.map(reducer.merge, a, b, is_leaf=is_state)

    def by_name(function: Callable[[PyTree], Stats]) -> Callable[[PyTree], Stats]:
        def named(state: PyTree) -> Stats:
            leaves, tree = jax.tree.flatten(state, is_leaf=is_state)
            found = [function(leaf) for leaf in leaves]
            return {
                name: jax.tree.unflatten(tree, [stats[name] for stats in found])
                for name in found[0]
            }

        return named

    return Reducer(
        init=lambda outputs: jax.tree.map(reducer.init, part(outputs, of)),
        update=update,
        merge=merge,
        finalize=by_name(reducer.finalize),
        stderr=by_name(reducer.stderr),
    )


def merging(
    of_samples: Callable[[Array, Array], PyTree], merge: Callable[[Any, Any], PyTree]
) -> Callable[[PyTree, PyTree, Array], PyTree]:
    """An update that computes the state of new samples, and merges it."""
    return lambda state, samples, valid: merge(state, of_samples(samples, valid))


def combined(reducers: Mapping[str, Reducer], /) -> Reducer:
    """Several reducers as one, with the statistics of each under its name."""
    if not reducers:
        raise ValueError("reducers must name at least one reducer, got {}.")
    for name, reducer in reducers.items():
        if not isinstance(reducer, Reducer):
            raise TypeError(
                f"reducers[{name!r}] must be a Reducer such as mc.moments(), got "
                f"{shown(reducer)}."
            )

    def each(apply: Callable[..., Any], *states: PyTree) -> dict[str, Any]:
        return {
            name: apply(reducer, *(state[name] for state in states))
            for name, reducer in reducers.items()
        }

    return Reducer(
        init=lambda outputs: each(lambda r: r.init(outputs)),
        update=lambda state, outputs, valid: each(
            lambda r, s: r.update(s, outputs, valid), state
        ),
        merge=lambda a, b: each(lambda r, s, t: r.merge(s, t), a, b),
        finalize=lambda state: each(lambda r, s: r.finalize(s), state),
        stderr=lambda state: each(lambda r, s: r.stderr(s), state),
    )


def part(outputs: PyTree, of: Of, /) -> PyTree:
    """The part of the outputs that a reducer reads."""
    chosen = of(outputs) if callable(of) else _named_part(outputs, of)
    if not jax.tree.leaves(chosen):
        raise ValueError(f"the outputs hold no arrays to reduce (of={of!r}).")
    return chosen


def _named_part(outputs: PyTree, of: Any, /) -> PyTree:
    """The part of a name or at an index, or everything."""
    if of is None:
        return outputs
    try:
        if isinstance(of, bool | np.bool_):
            raise TypeError  # JAX and lists would read it as an index
        if isinstance(of, str) and not isinstance(outputs, Mapping):
            return getattr(outputs, of)
        return outputs[of]
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError):
        raise ValueError(
            "of must be a name or an index of a part of the outputs, or a function of "
            f"them, got {of!r} for outputs {outputs}."
        ) from None


def float_of(dtype: Any, /) -> np.dtype:
    """The dtype to accumulate in: float32, or the dtype itself if it is wider."""
    if any(
        jnp.issubdtype(dtype, kind)
        for kind in (jnp.complexfloating, jax.dtypes.extended)
    ):
        raise TypeError(f"reducers take real outputs, got {dtype}.")
    dtype = np.dtype(dtype)
    wide = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize > 4
    return dtype if wide else np.dtype(np.float32)


def widened(samples: Array, /) -> Array:
    """Samples in the dtype to accumulate in."""
    return samples.astype(float_of(samples.dtype))


def along(flags: Array, like: Array, /) -> Array:
    """``(k,)`` flags in a shape that broadcasts against ``(k, ...)`` samples."""
    return flags.reshape(flags.shape + (1,) * (like.ndim - 1))


def keep_valid(samples: Array, valid: Array, /) -> Array:
    """Valid samples, and 0 in place of the others."""
    return jnp.where(along(valid, samples), samples, 0)


def count_of(valid: Array, /) -> Array:
    """The number of valid samples, as an integer: float32 is exact up to 2**24 only."""
    return valid.astype(jnp.int32).sum(dtype=jnp.int32)


def ratio(count: Array, total: Array, dtype: Any, /) -> Array:
    """``count / total`` as a float, 0 where both are 0."""
    whole = jnp.maximum(total, 1).astype(dtype)
    return count.astype(dtype) / whole


def safe_sqrt(values: Array, /) -> Array:
    """A square root whose gradient at 0 is 0 instead of NaN."""
    some = values > 0
    root = jnp.sqrt(jnp.where(some, values, 1))
    return jnp.where(some, root, 0 * values)


def unless(unknown: Array, values: Array, /) -> Array:
    """``values``, or NaN where they are unknown.

    NaN comes from a division by 0. A NaN constant would let ``jax_debug_nans`` raise
    even if all values are known.
    """
    known = jnp.logical_not(unknown).astype(values.dtype)
    return values + jnp.zeros_like(known) / known
