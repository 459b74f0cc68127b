"""Tracing a function into a program, and recording the modules it calls."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.tree_util import SequenceKey

from jaxdrop import _programs
from jaxdrop._numbers import is_numeric
from jaxdrop._typing import PyTree
from jaxdrop.diagnostics._audit.frameworks import (
    Room,
    Visit,
    callable_of,
    described,
    model_room,
    rooms_in_use,
    watching,
)


class Traced(NamedTuple):
    """A traced program.

    Attributes:
      program: the program; its inputs are the arrays among the arguments.
      inputs: these arrays, or their shapes.
      num_results: the number of its outputs that the function returns; the others are
        the states of models afterwards.
      visits: the calls of stochastic modules.
      streams: the state of streams of keys, each as the position of an input and of the
        outputs that hold it afterwards: none where it is not handed back.
    """

    program: _programs.Program
    inputs: list[Any]
    num_results: int
    visits: list[Visit]
    streams: list[tuple[int, list[int]]]


def traced(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Traced:
    """Traces a call; models among the arguments are copied, and watched.

    The program is traced in a context of its own: with JAX's caches of earlier traces
    no module would be called, and its marks must not be left there.
    """
    rooms = rooms_in_use()
    _check_callable(function, args, rooms)
    is_leaf = lambda value: model_room(value, rooms) is not None
    opened = functools.partial(jax.tree.leaves_with_path, is_leaf=is_leaf)
    structure = jax.tree.structure((function, args, kwargs), is_leaf=is_leaf)
    paths, leaves = zip(*opened((function, args, kwargs)), strict=True)
    arrays, rebuild = zip(*(_opened(leaf, rooms) for leaf in leaves), strict=True)
    visits: list[Visit] = []
    num_results, after = 0, []
    of_states = _streams_of_states((function, args, kwargs), rooms)
    returned: dict[Any, list[int]] = {}

    def run(*arrays: PyTree) -> tuple[list[Any], list[PyTree], list[Any]]:
        nonlocal num_results, after
        values = [make(a) for make, a in zip(rebuild, arrays, strict=True)]
        models = [(v, r) for v in values if (r := model_room(v, rooms)) is not None]
        again, args, kwargs = jax.tree.unflatten(structure, values)
        with watching(rooms, [model for model, _ in models], visits.append):
            outputs = callable_of(again, rooms)(*args, **kwargs)
        found = [o for o in jax.tree.leaves_with_path(outputs) if _is_array(o[1])]
        num_results = len(found)
        known = _streams_of_states(outputs, rooms)
        for place, (path, _) in enumerate(found):
            returned.setdefault(known.get(path), []).append(place)
        states = [room.state(model) for model, room in models]
        after = [path for path, _ in jax.tree.leaves_with_path(states)]
        kept = [
            leaf for path, leaf in opened((again, args, kwargs)) if path in of_states
        ]
        return [leaf for _, leaf in found], states, kept

    with _apart():
        program, _ = _programs.traced(run, *arrays)
    streams = [
        (place, [num_results + after.index(path)])
        for place, path in _streams(leaves, arrays, rooms)
        if path in after
    ]
    kept = itertools.count(num_results + len(after))
    streams += [
        (place, [next(kept), *returned.get(of_states[path], [])])
        for place, path in _placed(paths, arrays)
        if path in of_states
    ]
    return Traced(program, jax.tree.leaves(arrays), num_results, visits, streams)


def _check_callable(function: Any, args: tuple[Any, ...], rooms: list[Room]) -> None:
    """Raises unless a function or model comes first."""
    if isinstance(function, type):
        name = function.__name__
        raise TypeError(
            f"the first argument is the class {name}; pass an instance of it, "
            f"{name.lower()} = {name}(...)."
        )
    if callable(callable_of(function, rooms)):
        return
    later = next((arg for arg in args if callable(callable_of(arg, rooms))), None)
    swapped = "" if later is None else f"; is {type(later).__name__} meant to be first?"
    raise TypeError(
        "fn_or_model must be a function or a model, followed by its arguments, got "
        f"{described(function)}{swapped or '.'}"
    )


def _streams(
    leaves: Sequence[Any], arrays: Sequence[PyTree], rooms: list[Room]
) -> Iterator[tuple[int, Any]]:
    """Positions among all inputs, and paths among the models, of streams' state."""
    place = model = 0
    for leaf, part in zip(leaves, arrays, strict=True):
        room = model_room(leaf, rooms)
        if room is not None:
            flags = jax.tree.leaves_with_path([room.streams(leaf)])
            for offset, (path, is_stream) in enumerate(flags):
                if is_stream:
                    yield place + offset, (SequenceKey(model), *path[1:])
            model += 1
        place += len(jax.tree.leaves(part))


def _streams_of_states(tree: PyTree, rooms: list[Room]) -> dict[Any, Any]:
    """For the paths of streams' arrays in states of models, those in the state."""
    return {
        path: inside
        for room in rooms
        for path, inside in room.streams_of_states(tree).items()
    }


def _placed(
    paths: Sequence[Any], arrays: Sequence[PyTree]
) -> Iterator[tuple[int, Any]]:
    """The position among all inputs of the first array of each leaf, and its path."""
    sizes = (len(jax.tree.leaves(part)) for part in arrays)
    return zip(itertools.accumulate(sizes, initial=0), paths, strict=False)


def _opened(leaf: Any, rooms: list[Room]) -> tuple[PyTree, Any]:
    """What is traced of a leaf, and what makes the leaf from it."""
    room = model_room(leaf, rooms)
    if room is not None:
        return room.split(leaf)
    if _is_array(leaf):
        return leaf, lambda array: array
    return (), lambda _: leaf


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray):  # not of text, dates or objects
        return is_numeric(leaf.dtype)
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)


def _apart() -> contextlib.AbstractContextManager[Any]:
    mark: Callable[..., contextlib.AbstractContextManager[Any]] = set_xla_metadata
    return mark(jaxdrop_audit="1")
