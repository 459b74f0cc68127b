"""The contribution of each leaf to a penalty."""

from collections.abc import Callable

import jax

from jaxdrop._checks import check_callable
from jaxdrop._errors import named
from jaxdrop._paths import path_name
from jaxdrop._typing import Array, PyTree
from jaxdrop._weights import is_inexact
from jaxdrop.penalties._sums import one_leaf_alone


@named
def by_path(penalty: Callable[[PyTree], Array], params: PyTree, /) -> dict[str, Array]:
    """Splits a penalty of parameters into the contribution of each leaf, for a log.

    Args:
      penalty: a function of a tree that returns a scalar, for example
        ``functools.partial(penalties.l2, coefficient=1e-4)``.
      params: any tree of arrays.

    Returns:
      A dict from the path of each leaf to the penalty of this leaf alone. The values
      add up to the penalty of the tree; those of leaves that are not selected are 0.

    Raises:
      ValueError: if ``penalty`` raises it for the whole tree, for example because it
        selects no leaves.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
      >>> parts = penalties.by_path(penalties.l2, params)
      >>> {path: float(value) for path, value in parts.items()}
      {'dense/bias': 3.0, 'dense/kernel': 6.0}
    """
    check_callable(penalty, name="penalty")
    jax.eval_shape(lambda: penalty(params))  # raises if no leaf is selected
    flat, treedef = jax.tree_util.tree_flatten_with_path(params)
    alone = [None] * len(flat)
    parts = {}
    for position, (path, leaf) in enumerate(flat):
        if is_inexact(leaf):
            leaves = [*alone[:position], leaf, *alone[position + 1 :]]
            with one_leaf_alone():
                parts[path_name(path)] = penalty(jax.tree.unflatten(treedef, leaves))
    return parts
