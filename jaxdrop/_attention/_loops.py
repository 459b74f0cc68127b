"""The loops around a tile: over rows, panes, blocks of queries and tiles of keys.

All of them are maps and sums, so that each can be differentiated in either direction,
and its backward pass is a loop of the same kind.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._attention._plan import Plan
from jaxdrop._attention._tiles import Operands
from jaxdrop._typing import Array

_T = TypeVar("_T")

Visit = Callable[[bool, Operands], _T]
"""From whether all its keys exist, and the operands of a tile, to what it adds."""

Merge = Callable[[_T, np.ndarray, int], _T]
"""Adds up parts along the first axis: parts, to which sum each belongs, how many."""

_QUERIES, _KEYS = 0, 1
_AXES = {  # of queries and of keys
    "query": (3, None),
    "d_query": (3, None),
    "top": (3, None),
    "key": (None, 2),
    "value": (None, 2),
    "d_key": (None, 3),
    "d_value": (None, 3),
    "bias": (3, 4),
    "d_bias": (3, 4),
    "mask": (3, 4),
}


def over_rows(visit: Callable[[Operands], _T], operands: Operands) -> _T:
    """Maps over the two leading axes of all operands, steps over examples and heads."""
    return _each(partial(_each, visit), operands)


def over_keys(plan: Plan, visit: Visit[_T], merge: Merge[_T], row: Operands) -> _T:
    """Sums over all keys that the queries of a row see.

    Args:
      plan: the plan of the call.
      visit: what a tile adds.
      merge: adds up parts.
      row: the operands of a row.

    Returns:
      Arrays whose axis 3 is that of the queries.
    """
    panes = np.asarray(plan.panes, np.int32)
    split = _panes(plan, row, panes)
    first = jnp.asarray(panes * np.asarray(plan.pane), jnp.uint32)[:, None, None]
    split["first_query"], split["first_key"] = first[..., 0], first[..., 1]
    # Where tiles do not divide a pane, the last one ends in keys of the next pane.
    split["end_key"] = jnp.minimum(first[..., 1] + plan.pane[1], plan.keys)
    split["first_row"] = _moved(plan, row["first_row"], split["first_query"])
    parts = _each(partial(_pane, plan, visit, merge), split)
    return _join(merge(parts, panes[:, 0], plan.grid[0]), plan.queries)


def _panes(plan: Plan, row: Operands, panes: np.ndarray) -> Operands:
    """Copies to each pane its queries and its keys."""
    if len(panes) == 1:
        return {name: x[None] for name, x in row.items()}
    by_query, by_key = _axes(row, _QUERIES), _axes(row, _KEYS)
    split = {}
    for name, x in row.items():
        index: tuple[np.ndarray, ...] = ()
        if name in by_key:
            x = _split(x, by_key[name], plan.pane[1])
            index = (panes[:, 1],)
        if name in by_query:
            x = _split(x, by_query[name] + len(index), plan.pane[0])
            index = (panes[:, 0], *index)
        split[name] = x[index] if index else x[None]
    return split


def _pane(plan: Plan, visit: Visit[_T], merge: Merge[_T], pane: Operands) -> _T:
    """Maps over blocks of queries, and sums over tiles of keys."""
    queries, keys = pane["query"].shape[3], pane["key"].shape[2]
    blocks, length = _even(queries, plan.block[0])
    tiles, width = _even(keys, plan.block[1])
    inside = plan.grid[1] * plan.pane[1] == plan.keys and tiles * width == keys

    def block(operands: Operands) -> _T:
        split = _split_all(operands, _KEYS, width)
        split["first_key"] = operands["first_key"][None] + _steps(tiles, width)
        parts = _each(partial(_at_once, partial(visit, inside)), split)
        return jax.tree.map(lambda x: x[0], merge(parts, np.zeros(tiles, int), 1))

    split = _split_all(pane, _QUERIES, length)
    split["first_query"] = pane["first_query"][None] + _steps(blocks, length)
    split["first_row"] = _moved(plan, pane["first_row"], _steps(blocks, length))
    return _join(_each(block, split), queries)


def _each(
    visit: Callable[[Operands], _T],
    operands: Operands,
    over: Callable[[Callable[[Operands], _T], Operands], _T] = lax.map,
) -> _T:
    """Maps over the first axis; operands of length 1 there are shared by all steps."""
    shared = {name: x[0] for name, x in operands.items() if x.shape[0] == 1}
    looped = {name: x for name, x in operands.items() if name not in shared}
    if not looped:
        return jax.tree.map(lambda x: x[None], visit(shared))
    return over(lambda step: visit(shared | step), looped)


def _at_once(visit: Callable[[Operands], _T], operands: Operands) -> _T:
    """Vectorizes over the two leading axes: the examples and key heads of a row."""
    vectorized = partial(_each, over=lambda step, xs: jax.vmap(step)(xs))
    return vectorized(partial(vectorized, visit), operands)


def _even(length: int, limit: int) -> tuple[int, int]:
    """Into how many parts, none longer than a limit, and how long each is."""
    parts = -(-length // limit)
    return parts, -(-length // parts)


def _steps(count: int, size: int) -> Array:
    return size * lax.broadcasted_iota(jnp.uint32, (count, 1, 1), 0)


def _moved(plan: Plan, first_row: Array, by: Array) -> Array:
    """The number of the first row of weights, some queries further on."""
    return first_row[None] + by if plan.drawn[2] > 1 else first_row[None]


def _axes(row: Operands, which: int) -> dict[str, int]:
    """Where the axis of queries or keys is, in the operands that vary along it."""
    axes = {name: _AXES.get(name, (None, None))[which] for name in row}
    return {
        name: axis
        for name, axis in axes.items()
        if axis is not None and row[name].shape[axis] > 1
    }


def _split_all(row: Operands, which: int, size: int) -> Operands:
    """Cuts operands into equal parts along a new first axis, padding the last."""
    axes = _axes(row, which)
    return {
        name: _split(x, axes[name], size) if name in axes else x[None]
        for name, x in row.items()
    }


def _split(x: Array, axis: int, size: int) -> Array:
    parts = -(-x.shape[axis] // size)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, parts * size - x.shape[axis])
    x = jnp.pad(x, padding)
    x = x.reshape(*x.shape[:axis], parts, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(x, axis, 0)


def _join(parts: _T, length: int) -> _T:
    """Undoes a cut along the axis of queries."""

    def join(x: Array) -> Array:
        x = jnp.moveaxis(x, 0, 3)
        x = x.reshape(*x.shape[:3], -1, *x.shape[5:])
        return lax.slice_in_dim(x, 0, length, axis=3)

    return jax.tree.map(join, parts)
