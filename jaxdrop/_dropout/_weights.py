"""The weights of a tree that are dropped, and the keys of their masks."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._numbers import as_array
from jaxdrop._paths import map_with_name, path_hash
from jaxdrop._typing import Array, Key, PyTree, Where
from jaxdrop.prng._bits import consume


def is_array(params: PyTree, /) -> bool:
    """Whether ``params`` is a single array, not a tree of arrays."""
    return jax.tree_util.all_leaves([params])


def check_like(
    params: PyTree,
    reference: PyTree,
    /,
    *,
    names: str = "params and reference",
) -> None:
    """Raises unless the two trees have one structure."""
    ours: Any = jax.tree.structure(params)
    theirs: Any = jax.tree.structure(reference)
    if ours != theirs:
        raise ValueError(
            f"{names} must have the same structure, got {ours} and {theirs}."
        )


def map_weights(
    function: Callable[..., Array],
    key: Key,
    params: PyTree,
    /,
    *rest: PyTree,
    where: Where | None,
) -> PyTree:
    """Maps ``function(key, leaf, *rest_leaves)`` over the weights that are selected.

    The key of a leaf is ``key`` folded with a hash of its path, so that its mask does
    not change when other leaves are added or removed. Leaves that are not floating
    point, or that ``where(path, leaf)`` does not select, are returned unchanged.
    """
    found = False
    key = consume(key)

    def change(path: str, leaf: Any, *others: Any) -> Any:
        if not is_inexact(leaf) or (where is not None and not where(path, leaf)):
            return leaf
        nonlocal found
        found = True
        name = f"params: {path}"
        leaf_key = jax.random.fold_in(key, path_hash(path))
        return function(leaf_key, jnp.asarray(as_array(leaf, name=name)), *others)

    changed = map_with_name(change, params, *rest)
    if where is not None and not found:
        names: list[str] = []
        map_with_name(lambda path, _: names.append(path), params)
        raise ValueError(
            f"where selects none of the floating point arrays among {names}."
        )
    return changed


def total(terms: Iterable[Array], /) -> Array:
    """The sum of scalars in the widest of their dtypes; 0 in float32 if there are none.

    The dtypes differ where some leaves of a tree are float64, and others are not.
    """
    scalars = list(terms)
    wide = any(term.dtype == jnp.float64 for term in scalars)
    dtype = jnp.float64 if wide else jnp.float32
    return sum((term.astype(dtype) for term in scalars), jnp.zeros((), dtype))


def is_inexact(leaf: Any, /) -> bool:
    """Whether a leaf of a tree is an array that can be rescaled."""
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(
        leaf.dtype, jnp.inexact
    )
