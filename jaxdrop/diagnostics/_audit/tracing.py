"""From a function and its arguments to a program, and to the modules it called."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata

from jaxdrop import _programs
from jaxdrop._typing import PyTree
from jaxdrop.diagnostics._audit.frameworks import (
    Room,
    Visit,
    callable_of,
    model_room,
    rooms_in_use,
    watching,
)


class Traced(NamedTuple):
    """A traced program.

    Attributes:
      program: the program; its inputs are the arrays among the arguments.
      inputs: these arrays, or their shapes.
      num_results: how many of its outputs are what the function returns; the others
        are what models hold afterwards.
      visits: the calls of stochastic modules.
    """

    program: _programs.Program
    inputs: list[Any]
    num_results: int
    visits: list[Visit]


def traced(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Traced:
    """Traces a call; models among the arguments are copied, and watched.

    The program is traced anew in a context of its own: it neither takes what was traced
    before from JAX's caches, without calling any module, nor leaves its marks there.
    """
    rooms = rooms_in_use()
    leaves, structure = jax.tree.flatten(
        (function, args, kwargs), is_leaf=lambda value: _is_leaf(value, rooms)
    )
    arrays, rebuild = zip(*(_opened(leaf, rooms) for leaf in leaves), strict=True)
    visits: list[Visit] = []
    num_results = 0

    def run(*arrays: PyTree) -> tuple[list[Any], list[PyTree]]:
        nonlocal num_results
        values = [make(a) for make, a in zip(rebuild, arrays, strict=True)]
        models = [(v, r) for v in values if (r := model_room(v, rooms)) is not None]
        again, args, kwargs = jax.tree.unflatten(structure, values)
        with watching(rooms, [model for model, _ in models], visits.append):
            outputs = callable_of(again, rooms)(*args, **kwargs)
        results = [leaf for leaf in jax.tree.leaves(outputs) if _is_array(leaf)]
        num_results = len(results)
        return results, [room.state(model) for model, room in models]

    with _apart():
        program, _ = _programs.traced(run, *arrays)
    return Traced(program, jax.tree.leaves(arrays), num_results, visits)


def _is_leaf(value: Any, rooms: list[Room]) -> bool:
    return model_room(value, rooms) is not None


def _opened(leaf: Any, rooms: list[Room]) -> tuple[PyTree, Any]:
    """What is traced of a leaf, and what makes the leaf from it."""
    room = model_room(leaf, rooms)
    if room is not None:
        return room.split(leaf)
    if _is_array(leaf):
        return leaf, lambda array: array
    return (), lambda _: leaf


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _apart() -> contextlib.AbstractContextManager[Any]:
    mark: Callable[..., contextlib.AbstractContextManager[Any]] = set_xla_metadata
    return mark(jaxdrop_audit="1")
