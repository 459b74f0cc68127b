"""How penalties add up: over selected leaves, over examples, in float32 or wider."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop._checks import check_nonnegative, nan_if_negative
from jaxdrop._paths import map_with_name
from jaxdrop._typing import Array, PyTree
from jaxdrop._weights import Patterns, is_inexact, per_layer


def over_leaves(
    penalty: Callable[[str, Array], Array],
    tree: PyTree,
    chosen: PyTree,
    /,
    *,
    coefficient: ArrayLike,
    caller: str,
    stacked: Patterns = (),
) -> Array:
    """``coefficient`` times the sum of a penalty over the chosen leaves of a tree.

    Args:
      penalty: from path and leaf to a scalar, in float32 or wider.
      tree: the arrays.
      chosen: a tree of bools, shaped like ``tree``.
      coefficient: a number, which is checked, or a JAX scalar, which is data.
      caller: the public function on whose behalf errors are raised.
      stacked: patterns of leaves whose layers are penalized one by one.

    Returns:
      A scalar; 0 in float32 for a tree without leaves.
    """
    check_nonnegative(coefficient, caller=caller, name="coefficient")
    terms: list[Array] = []

    def add(name: str, leaf: Any, is_chosen: bool) -> None:
        if is_chosen:
            alone = per_layer(lambda one: penalty(name, one), name, stacked)
            terms.append(jnp.sum(alone(jnp.asarray(leaf))))

    map_with_name(add, tree, chosen)
    return scaled_sum(terms, coefficient)


def scaled_sum(terms: list[Array], coefficient: ArrayLike, /) -> Array:
    """``coefficient`` times the sum of scalars, in the widest dtype among them."""
    wide = any(term.dtype == jnp.float64 for term in terms)
    dtype = jnp.float64 if wide else jnp.float32
    total = sum((term.astype(dtype) for term in terms), jnp.zeros((), dtype))
    return total * jnp.asarray(nan_if_negative(coefficient)).astype(dtype)


def all_inexact(tree: PyTree, /) -> PyTree:
    """Marks every leaf of floating or complex numbers."""
    return jax.tree.map(is_inexact, tree)


def batch_weights(
    weights: ArrayLike | None, batch: tuple[int, ...], /, *, caller: str
) -> Array | None:
    """The weights of the examples as numbers, checked to have the batch's shape."""
    if weights is None:
        return None
    array = jnp.asarray(weights)
    if array.shape != batch:
        raise ValueError(
            f"{caller}: weights must have the shape of the batch, {batch}, got "
            f"{array.shape}."
        )
    return nan_if_negative(array if is_inexact(array) else array.astype(jnp.float32))


def live(values: Array, weights: Array | None, /) -> Array:
    """``values``, ``(*batch, n)``, with 0 for what weighs nothing and may be NaN."""
    if weights is None:
        return values
    return jnp.where(weights[..., None] != 0, values, 0)


def weighted_mean(values: Array, weights: Array | None, /) -> Array:
    """The mean of ``values`` over the batch, weighted; 0 where nothing weighs."""
    if weights is None:
        return jnp.sum(values) / max(values.size, 1)
    share = weights.astype(values.dtype)
    total = jnp.sum(share)
    weighted = jnp.where(share != 0, values, 0) * share
    return jnp.sum(weighted) / jnp.where(total == 0, 1, total)
