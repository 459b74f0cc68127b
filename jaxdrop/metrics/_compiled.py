"""Metrics as one compiled program each, not one dispatch per operation.

Numbers from the host pass :mod:`jaxdrop._numbers` on their way in, each by the name of
its argument: JAX would wrap or round them before a metric could see them.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax

from jaxdrop._masks import automatic
from jaxdrop._numbers import as_labels, as_logits, as_real, in_order, relative
from jaxdrop.metrics._probabilities import as_probs

_P = ParamSpec("_P")
_R = TypeVar("_R")

_DOORS: Mapping[str, Callable[..., Any]] = {
    "labels": as_labels,
    "logits": as_logits,
    "target_logits": as_logits,
}


def compiled(
    *static: str, ordered: tuple[str, ...] = (), differing: tuple[str, ...] = ()
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compiles a function for the shapes it is called with; it remains a function.

    Args:
      *static: names of the arguments that decide while tracing.
      ordered: names of arguments of which only the order counts, also among each other.
      differing: names of arguments of which only the differences count, relative to the
        first of them.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        jitted = automatic(jax.jit(function, static_argnames=static))
        signature = inspect.signature(function)
        optional = {
            name
            for name, parameter in signature.parameters.items()
            if type(None) in typing.get_args(parameter.annotation)
        }

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments
            compared = (*ordered, *differing)
            others = [name for name in given if name not in compared]
            _enter(given, others, static, optional)
            if ordered:
                kept = in_order(**{name: given[name] for name in ordered})
                given.update(zip(ordered, kept, strict=True))
            if differing:
                kept = relative(**{name: given[name] for name in differing})
                given.update(zip(differing, kept, strict=True))
            _enter(given, [n for n in given if n in compared], static, optional)
            result: _R = jitted(*bound.args, **bound.kwargs)
            return result

        return call

    return decorate


def _enter(
    given: dict[str, Any],
    names: list[str],
    static: Collection[str],
    optional: Collection[str],
) -> None:
    """Replaces arguments by what is compiled with, or raises naming one of them."""
    for name in names:
        value = given[name]
        if name in static:
            _check_static(value, name=name)
        elif name == "key":  # no number
            continue
        elif name == "probs":
            given[name] = as_probs(value, given.get("weights"))
        elif value is not None or name not in optional:
            door: Callable[..., Any] = _DOORS.get(name, as_real)
            given[name] = door(value, name=name)


def _check_static(value: Any, /, *, name: str) -> None:
    if not isinstance(value, Hashable):
        raise TypeError(
            f"{name} is static, and must be a Python value that is known before "
            f"tracing, got {value!r}."
        )
