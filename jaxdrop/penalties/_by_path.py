"""A penalty's value for each leaf alone."""

from collections.abc import Callable

import jax

from jaxdrop._checks import check_callable
from jaxdrop._paths import path_name
from jaxdrop._typing import Array, PyTree
from jaxdrop._weights import is_inexact
from jaxdrop.penalties._sums import one_leaf_alone


def by_path(penalty: Callable[[PyTree], Array], params: PyTree, /) -> dict[str, Array]:
    """Splits a penalty of parameters into the contribution of each leaf, for a log.

    Args:
      penalty: from a tree to a scalar, for example
        ``functools.partial(penalties.l2, coefficient=1e-4)``.
      params: any tree of arrays.

    Returns:
      The penalty of each leaf alone under its path. The values add up to the penalty of
      the tree, and leaves that are not selected have 0.

    Raises:
      ValueError: if ``penalty`` raises one for the whole tree, for example since it
        selects no leaf.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
      >>> parts = penalties.by_path(penalties.l2, params)
      >>> {path: float(value) for path, value in parts.items()}
      {'dense/bias': 3.0, 'dense/kernel': 6.0}
    """
    check_callable(penalty, name="by_path: penalty")
    jax.eval_shape(lambda: penalty(params))  # raises if nothing at all is selected
    flat, treedef = jax.tree_util.tree_flatten_with_path(params)
    alone = [None] * len(flat)
    parts = {}
    for position, (path, leaf) in enumerate(flat):
        if is_inexact(leaf):
            leaves = [*alone[:position], leaf, *alone[position + 1 :]]
            with one_leaf_alone():
                parts[path_name(path)] = penalty(jax.tree.unflatten(treedef, leaves))
    return parts
