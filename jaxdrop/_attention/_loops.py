"""The loops around a tile: over groups, strips, blocks of queries and tiles of keys.

All of them are maps and sums, so that they can be differentiated in either mode, and
the transpose of a loop is a loop of the same kind.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._attention._plan import Plan, Strip, Strips
from jaxdrop._attention._tiles import Tile
from jaxdrop._typing import Array

_T = TypeVar("_T")

Group = dict[str, Array]
"""The operands of a group, or of a strip or block of it, by name.

Their names are those of :class:`_tiles.Tile`. Loops divide them along the axes that
``_AXES`` lists, and add the position of each part. In front of the axes of a tile
operands have those of the groups that are computed at once, (examples, key heads).
"""

Visit = Callable[[bool, Tile], _T]
"""From whether all keys of a tile exist, and the tile, to its part of the sums."""

Merge = Callable[[_T], _T]
"""Adds up parts along the first axis."""

_QUERIES, _KEYS = 0, 1
_AXES = {  # the axis of queries and the axis of keys of an operand
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
_BEYOND = {"top": np.inf}
"""The padding of operands, where not 0: the weights of padded queries become 0."""


def over_groups(visit: Callable[[Group], _T], operands: Group) -> _T:
    """Maps over the two leading axes of operands: the steps over examples and heads."""
    return _each(partial(_each, visit), operands)


def over_keys(plan: Plan, visit: Visit[_T], merge: Merge[_T], group: Group) -> _T:
    """Sums over all keys with which the plan compares the queries of a group.

    Args:
      plan: the plan of the call.
      visit: computes the part of a tile.
      merge: adds up parts.
      group: the operands of a group.

    Returns:
      Arrays whose axis 3 is that of the queries.
    """
    parts = [_run(plan, visit, merge, group, run) for run in plan.runs]
    return jax.tree.map(lambda *xs: jnp.concatenate(xs, 3), *parts)


def _run(
    plan: Plan, visit: Visit[_T], merge: Merge[_T], group: Group, run: Strips
) -> _T:
    """Maps over neighbouring strips of equal width, in one loop."""
    length, size = plan.pane
    first = np.asarray([[s.query * length, s.key * size] for s in run], np.uint32)
    last_key = first[:, 1] + np.uint32(run[0].width * size)
    split = _strip(plan, group, run[0]) if len(run) == 1 else _strips(plan, group, run)
    split["first_query"], split["first_key"] = jnp.asarray(first.T)[..., None, None]
    # If the tiles do not divide a strip evenly, the last one ends in padded keys.
    split["end_key"] = jnp.asarray(np.minimum(last_key, plan.keys))[:, None, None]
    split["first_row"] = _moved(plan, group["first_row"], split["first_query"])
    whole = len(run) == 1 or bool((last_key <= plan.keys).all())
    parts = _each(partial(_blocks, plan, visit, merge, whole), split)
    queries = min(plan.queries - int(first[0, 0]), len(run) * length)
    return _join(parts, queries)


def _strip(plan: Plan, group: Group, strip: Strip) -> Group:
    """The operands of a single strip, cut out without padding."""
    by_query, by_key = _axes(group, _QUERIES), _axes(group, _KEYS)
    length, size = plan.pane
    taken = {}
    for name, x in group.items():
        if name in by_query:
            x = _part(x, by_query[name], strip.query * length, length)
        if name in by_key:
            x = _part(x, by_key[name], strip.key * size, strip.width * size)
        taken[name] = x[None]
    return taken


def _strips(plan: Plan, group: Group, run: Strips) -> Group:
    """The operands of several strips, stacked; each strip has a copy of its keys."""
    by_query, by_key = _axes(group, _QUERIES), _axes(group, _KEYS)
    numbers, width = np.arange(len(run))[:, None], run[0].width
    keys = np.asarray([[strip.key] for strip in run]) + np.arange(width)
    taken = {}
    for name, x in group.items():
        if name not in by_query and name not in by_key:
            taken[name] = x[None]
            continue
        if name in by_query:
            x = _split(x, by_query[name], plan.pane[0], _BEYOND.get(name, 0))
            x = x[run[0].query : run[-1].query + 1]
        if name in by_key:
            axis = by_key[name]
            if name in by_query:
                x = _split(x, axis + 1, plan.pane[1])[keys, numbers]
            else:
                x = _split(x, axis, plan.pane[1])[keys]
            x = jnp.moveaxis(x, 1, axis + 1)
            x = x.reshape(*x.shape[: axis + 1], -1, *x.shape[axis + 3 :])
        taken[name] = x
    return taken


def _blocks(
    plan: Plan, visit: Visit[_T], merge: Merge[_T], whole: bool, strip: Group
) -> _T:
    """Maps over blocks of queries, and sums over tiles of keys.

    Args:
      plan: the plan of the call.
      visit: computes the part of a tile.
      merge: adds up parts.
      whole: whether all keys of the strip are known to exist. Static.
      strip: the operands of a strip.
    """
    queries, keys = strip["query"].shape[3], strip["key"].shape[2]
    most = plan.tile_of(queries, keys)
    blocks, length = _even(queries, most[0])
    tiles, width = _even(keys, most[1])
    inside = whole and tiles * width == keys

    def tile(operands: Group) -> _T:
        return visit(inside, Tile(**operands))

    def block(operands: Group) -> _T:
        split = _split_all(operands, _KEYS, width)
        split["first_key"] = operands["first_key"][None] + _steps(tiles, width)
        return merge(_each(partial(_at_once, tile), split))

    split = _split_all(strip, _QUERIES, length)
    split["first_query"] = strip["first_query"][None] + _steps(blocks, length)
    split["first_row"] = _moved(plan, strip["first_row"], _steps(blocks, length))
    return _join(_each(block, split), queries)


def _each(
    visit: Callable[[Group], _T],
    operands: Group,
    over: Callable[[Callable[[Group], _T], Group], _T] = lax.map,
) -> _T:
    """Maps over the first axis of operands.

    Operands whose first axis has length 1 are shared by all steps: they are closed over
    and not looped over, so that they are not copied for each step.
    """
    shared = {name: x[0] for name, x in operands.items() if x.shape[0] == 1}
    looped = {name: x for name, x in operands.items() if name not in shared}
    if not looped:
        return jax.tree.map(lambda x: x[None], visit(shared))
    return over(lambda step: visit(shared | step), looped)


def _at_once(visit: Callable[[Group], _T], operands: Group) -> _T:
    """Vectorizes over the two leading axes: the groups that are computed at once."""
    vectorized = partial(_each, over=lambda step, xs: jax.vmap(step)(xs))
    return vectorized(partial(vectorized, visit), operands)


def _even(length: int, limit: int) -> tuple[int, int]:
    """The number of equal parts that are not longer than a limit, and their length."""
    parts = -(-length // limit)
    return parts, -(-length // parts)


def _steps(count: int, size: int) -> Array:
    return size * lax.broadcasted_iota(jnp.uint32, (count, 1, 1), 0)


def _moved(plan: Plan, first_row: Array, by: Array) -> Array:
    """The number of the first row of weights, ``by`` queries later."""
    return first_row[None] + by if plan.drawn[2] > 1 else first_row[None]


def _axes(operands: Group, which: int) -> dict[str, int]:
    """The axis of queries or keys of each operand that has one longer than 1."""
    axes = {name: _AXES.get(name, (None, None))[which] for name in operands}
    return {
        name: axis
        for name, axis in axes.items()
        if axis is not None and operands[name].shape[axis] > 1
    }


def _split_all(operands: Group, which: int, size: int) -> Group:
    """Splits operands into equal parts along a new first axis, padding the last."""
    axes = _axes(operands, which)
    return {
        name: _split(x, axes[name], size, _BEYOND.get(name, 0))
        if name in axes
        else x[None]
        for name, x in operands.items()
    }


def _part(x: Array, axis: int, start: int, size: int) -> Array:
    """Entries along an axis, at most to its end."""
    return lax.slice_in_dim(x, start, min(start + size, x.shape[axis]), axis=axis)


def _split(x: Array, axis: int, size: int, beyond: float = 0) -> Array:
    parts = -(-x.shape[axis] // size)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, parts * size - x.shape[axis])
    x = jnp.pad(x, padding, constant_values=beyond)
    x = x.reshape(*x.shape[:axis], parts, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(x, axis, 0)


def _join(parts: _T, length: int) -> _T:
    """Undoes a split along the axis of queries, and removes the padding."""

    def join(x: Array) -> Array:
        x = jnp.moveaxis(x, 0, 3)
        x = x.reshape(*x.shape[:3], -1, *x.shape[5:])
        return lax.slice_in_dim(x, 0, length, axis=3)

    return jax.tree.map(join, parts)
