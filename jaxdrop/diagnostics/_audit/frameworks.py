"""Models among the arguments of an audit, which each framework's own room reads.

This file imports no framework. The package registers the rooms of those that it
supports, and a room is loaded when its framework is in use.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from jaxdrop._typing import PyTree


class Visit(NamedTuple):
    """A call of a stochastic module.

    Attributes:
      module: its path in the model.
      technique: the name of its technique.
      rate: its rate, or None if it has none.
      shares_heads: whether it is an attention that gives all its heads one mask.
      delegates: whether it is an attention whose mask another module draws.
    """

    module: str
    technique: str
    rate: Any
    shares_heads: bool
    delegates: bool


class Room(Protocol):
    """The functions that a framework's room provides for an audit."""

    def is_model(self, value: Any, /) -> bool:
        """Whether a value is a model that holds arrays."""

    def split(self, model: Any, /) -> tuple[PyTree, Callable[[PyTree], Any]]:
        """The arrays of a model, and a function that makes a copy of it from them."""

    def state(self, model: Any, /) -> PyTree:
        """The arrays of a model."""

    def streams(self, model: Any, /) -> PyTree:
        """Which of them belong to a stream of keys: a tree of bools."""

    def streams_of_states(self, tree: PyTree, /) -> dict[Any, Any]:
        """For paths of such arrays in a tree of split models, those in their state."""

    def call(self, function: Any, /) -> Callable[..., Any]:
        """The function that is called where a model is given in its place."""

    def watching(
        self, models: list[Any], tell: Callable[[Visit], None], /
    ) -> contextlib.AbstractContextManager[None]:
        """Reports calls of stochastic modules, and marks all calls with scopes."""


_LOADERS: dict[str, Callable[[], Room]] = {}


def register(framework: str, load: Callable[[], Room], /) -> None:
    """Registers a loader for the room of a framework, such as ``"flax.nnx"``."""
    _LOADERS[framework] = load


def rooms_in_use() -> list[Room]:
    """The rooms of the frameworks that the process has imported."""
    return [load() for name, load in _LOADERS.items() if name in sys.modules]


def described(value: Any, /) -> str:
    """A description of an argument, for a message."""
    if hasattr(value, "shape"):
        return f"an array of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def model_room(value: Any, rooms: list[Room], /) -> Room | None:
    """The room that knows a value as a model, if there is one."""
    return next((room for room in rooms if room.is_model(value)), None)


def callable_of(function: Any, rooms: list[Room], /) -> Callable[..., Any]:
    """The function to be called: itself, or that of a model."""
    for room in rooms:
        function = room.call(function)
    chosen: Callable[..., Any] = function
    return chosen


@contextlib.contextmanager
def watching(
    rooms: list[Room], models: list[Any], tell: Callable[[Visit], None], /
) -> Iterator[None]:
    """Watches in all rooms at once."""
    with contextlib.ExitStack() as stack:
        for room in rooms:
            known = [model for model in models if room.is_model(model)]
            stack.enter_context(room.watching(known, tell))
        yield
