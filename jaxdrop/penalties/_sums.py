"""Sums over selected leaves, and means over examples, in float32 or wider."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdrop._norms import power_of_two
from jaxdrop._numbers import as_array
from jaxdrop._paths import map_with_name
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, PyTree, Scalar
from jaxdrop._weights import Selection, per_layer

_one_leaf_alone = ContextVar("_one_leaf_alone", default=False)


@contextmanager
def one_leaf_alone() -> Iterator[None]:
    """A context in which penalties may select no leaves, since most are left out."""
    token = _one_leaf_alone.set(True)
    try:
        yield
    finally:
        _one_leaf_alone.reset(token)


def over_leaves(
    penalty: Callable[[str, Array], Array],
    tree: PyTree,
    leaves: Selection,
    /,
    *,
    coefficient: Scalar,
) -> Array:
    """``coefficient`` times the sum of a penalty over the selected leaves of a tree.

    Args:
      penalty: a function of path and leaf that returns a scalar in float32 or wider.
      tree: the arrays.
      leaves: the selection of leaves. The layers of leaves that match its patterns for
        stacked layers are penalized one by one.
      coefficient: a number, which is checked, or a JAX scalar, which is not.

    Returns:
      A scalar; 0 in float32 if the selection is empty and may be so.
    """
    strength = as_strength(coefficient, name="coefficient")
    if _one_leaf_alone.get():
        leaves = leaves._replace(allow_empty=True)
    terms: list[Array] = []

    def add(name: str, leaf: Any, is_chosen: bool) -> None:
        if is_chosen:
            alone = per_layer(lambda one: penalty(name, one), name, leaves.stacked)
            whole = jnp.asarray(as_array(leaf, name=name or "the array"))
            terms.append(jnp.sum(alone(whole)))

    map_with_name(add, tree, leaves.of(tree))
    return scaled_sum(terms, strength)


def scaled_sum(terms: list[Array], strength: ArrayLike, /) -> Array:
    """``strength`` times the sum of scalars, in the widest of their dtypes."""
    wide = any(term.dtype == jnp.float64 for term in terms)
    dtype = jnp.float64 if wide else jnp.float32
    total = sum((term.astype(dtype) for term in terms), jnp.zeros((), dtype))
    return total * jnp.asarray(strength).astype(dtype)


def batch_weights(weights: ArrayLike | None, batch: tuple[int, ...], /) -> Array | None:
    """The weights of the examples as an array, which must have the shape of the batch.

    Numbers from the host that are out of range raise; entries of JAX arrays become NaN.
    """
    if weights is None:
        return None
    array = as_array(weights, name="weights")
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"weights must be real, got {array.dtype}.")
    if array.shape != batch:
        raise ValueError(
            f"weights must have the shape of the batch, {batch}, got {array.shape}."
        )
    if isinstance(array, np.ndarray):
        with np.errstate(invalid="ignore"):  # of NaN in bfloat16
            known = (array >= 0) & (array < np.inf)
        if not known.all():
            raise ValueError("weights must be finite and at least 0.")
    numbers = jnp.asarray(array)
    if not jnp.issubdtype(numbers.dtype, jnp.floating):
        numbers = numbers.astype(jnp.float32)
    return jnp.where((numbers >= 0) & (numbers < jnp.inf), numbers, jnp.nan)


def without_unweighted(values: Array, weights: Array | None, /) -> Array:
    """``values``, ``(*batch, n)``, with 0 where weights are 0, even in place of NaN."""
    if weights is None:
        return values
    return jnp.where(weights[..., None] != 0, values, 0)


def weighted_mean(values: Array, weights: Array | None, /) -> Array:
    """The weighted mean of ``values`` over the batch; 0 if all weights are 0.

    So a batch of nothing but padding does not change the loss.
    """
    if weights is None:
        return jnp.sum(values) / as_float(max(values.size, 1))
    share = weights.astype(values.dtype)
    share = share / power_of_two(jnp.max(share, initial=0))  # the sum cannot overflow
    total = jnp.sum(share)
    weighted = jnp.where(share != 0, values, 0) * share
    return jnp.sum(weighted) / jnp.where(total == 0, 1, total)


def as_float(size: int, /) -> ArrayLike:
    """A size as a float, so that products of sizes do not overflow."""
    return float(size) if isinstance(size, int) else size  # may be symbolic in export
