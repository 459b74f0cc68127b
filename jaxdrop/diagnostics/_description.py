"""The parameters that a mask selects, as a table."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdrop._errors import named
from jaxdrop._paths import map_with_name
from jaxdrop._typing import PyTree


@named
def describe_mask(params: PyTree, mask: PyTree | Callable[[PyTree], PyTree], /) -> str:
    """Returns a table, to be printed, of the parameters that a mask selects.

    Args:
      params: parameters, or their shapes from ``jax.eval_shape``.
      mask: as for optax: a tree of bools like ``params`` or a prefix of it, or a
        function that makes one, such as :func:`jaxdrop.constraints.decay_mask`.

    Returns:
      A line for each array with its path, shape and number of entries, and a last line
      with the totals.

    Raises:
      ValueError: if ``mask`` is not a prefix of ``params``.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import constraints, diagnostics
      >>> params = {"dense": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}}
      >>> print(diagnostics.describe_mask(params, constraints.decay_mask))
      -  dense/bias    (4,)     4
      x  dense/kernel  (3, 4)  12
      x selects 12 of 16 entries, 1 of 2 arrays
    """
    flags = mask(params) if _is_function(mask) else mask
    try:
        whole = jax.tree.map(
            lambda chosen, part: jax.tree.map(lambda _: bool(chosen), part),
            flags,
            params,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "mask must be a tree of bools of the structure of params, or a prefix of "
            f"it ({error})."
        ) from None
    rows: list[tuple[bool, str, str, int]] = []

    def add(name: str, leaf: Any, chosen: bool) -> None:
        if hasattr(leaf, "shape"):
            rows.append((chosen, name, str(tuple(leaf.shape)), leaf.size))

    map_with_name(add, params, whole)
    lines = _aligned(
        [("x" if row[0] else "-", row[1], row[2], f"{row[3]:,}") for row in rows]
    )
    selected = [row[3] for row in rows if row[0]]
    total = sum(row[3] for row in rows)
    lines.append(
        f"x selects {sum(selected):,} of {total:,} entries, {len(selected):,} of "
        f"{len(rows):,} arrays"
    )
    return "\n".join(lines)


def _is_function(mask: Any) -> bool:
    """True for a function, and not for a module that can be called as well."""
    return callable(mask) and jax.tree_util.treedef_is_leaf(jax.tree.structure(mask))


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [
        f"{mark}  {path:<{widths[1]}}  {shape:<{widths[2]}}  {size:>{widths[3]}}"
        for mark, path, shape, size in rows
    ]
