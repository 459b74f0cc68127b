"""NNX models in :mod:`jaxdrop.diagnostics`: the functions that an audit needs."""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any, cast

import flax.errors
import jax
from flax import nnx

from jaxdrop._typing import PyTree
from jaxdrop.diagnostics._audit.frameworks import Visit
from jaxdrop.diagnostics._audit.modules import (
    delegates,
    rate_of,
    shares_heads,
    technique_of,
)
from jaxdrop.diagnostics._audit.places import marker
from jaxdrop.nnx._module import StochasticModule

_METHODS = ("__call__", "initialize_carry")
_PATH = "_jaxdrop_path"
_TELL: ContextVar[Callable[[Visit], None] | None] = ContextVar("tell", default=None)
_STOCHASTIC = (StochasticModule, nnx.Dropout, nnx.MultiHeadAttention)


def is_model(value: Any, /) -> bool:
    """Whether a value is an NNX model, a stream of keys, or some of them."""
    return isinstance(value, nnx.Module | nnx.Rngs | nnx.RngStream)


def split(model: Any, /) -> tuple[PyTree, Callable[[PyTree], Any]]:
    """The state of a model, and a function that makes a copy of it from a state."""
    graph, state = nnx.split(model)
    return state, lambda state: nnx.merge(graph, state, copy=True)


def state(model: Any, /) -> PyTree:
    """The arrays of a model."""
    return nnx.state(model)


def streams(model: Any, /) -> PyTree:
    """Which of the arrays of a model belong to a stream of keys."""
    is_variable = lambda node: isinstance(node, nnx.Variable)
    of_variable = lambda v: jax.tree.map(lambda _: isinstance(v, nnx.RngState), v)
    return jax.tree.map(of_variable, nnx.state(model), is_leaf=is_variable)


def streams_of_states(tree: PyTree, /) -> dict[Any, Any]:
    """Arrays of streams in the states of models that were split before.

    Returns:
      For the path of each of them in the tree, its path in the state.
    """
    found = {}
    is_end = lambda node: isinstance(node, nnx.State) or is_model(node)
    is_variable = lambda node: isinstance(node, nnx.Variable)
    for outer, node in jax.tree.leaves_with_path(tree, is_leaf=is_end):
        if not isinstance(node, nnx.State):
            continue
        for inner, variable in jax.tree.leaves_with_path(node, is_leaf=is_variable):
            if isinstance(variable, nnx.RngState):
                for rest, _ in jax.tree.leaves_with_path(variable):
                    found[*outer, *inner, *rest] = (*inner, *rest)
    return found


def call(function: Any, /) -> Callable[..., Any]:
    """The function that is called: a model itself."""
    chosen: Callable[..., Any] = function
    return chosen


@contextlib.contextmanager
def watching(models: list[Any], tell: Callable[[Visit], None], /) -> Iterator[None]:
    """Makes copies of models report the calls of their modules.

    Each module becomes one of a subclass that knows its path, which survives lifted
    transformations: they make modules anew, of the class and path of the old ones.
    """
    for model in models:
        for path, node in nnx.iter_graph(model):
            kind = type(node)
            if not isinstance(node, nnx.Module) or isinstance(node, _Watched):
                continue
            if any(_method(kind, name) for name in _METHODS):
                node.__class__ = _watched(cast(Hashable, kind))
                setattr(node, _PATH, "/".join(map(str, path)) or kind.__name__)
    token = _TELL.set(tell)
    try:
        yield
    except flax.errors.TraceContextError as error:
        raise ValueError(
            "the function changes an NNX model that it closes over. Pass the model "
            "itself, audit(model, x), or as an argument, audit(function, model, x), so "
            "that a copy of it can be traced."
        ) from error
    finally:
        _TELL.reset(token)


class _Watched:
    """A mark for classes whose calls are watched."""


@functools.cache
def _watched(kind: Any) -> Any:
    own = {name: _told(kind, name) for name in _METHODS if _method(kind, name)}
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind)(kind.__name__, (kind, _Watched), {**own, **names})


def _told(kind: type, name: str) -> Callable[..., Any]:
    method = _method(kind, name)
    assert method is not None

    @functools.wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        tell, path = _TELL.get(), getattr(self, _PATH)
        if tell is not None and name == "__call__" and isinstance(self, _STOCHASTIC):
            rate = rate_of(self, kwargs)
            if not (isinstance(self, nnx.MultiHeadAttention) and rate == 0):
                technique, shared = technique_of(kind), shares_heads(self)
                tell(Visit(path, technique, rate, shared, delegates(self)))
        with jax.named_scope(marker(path)):
            return method(self, *args, **kwargs)

    return call


def _method(kind: type, name: str) -> Callable[..., Any] | None:
    """A method of a class, and not of the class of the class."""
    owners = (base for base in kind.__mro__ if name in vars(base))
    owner = next(owners, None)
    return None if owner is None else vars(owner)[name]
