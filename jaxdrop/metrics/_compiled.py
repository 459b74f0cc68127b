"""Metrics as one compiled program each, not one dispatch per operation."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(*static: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compiles a function for the shapes it is called with; it remains a function.

    Args:
      *static: names of the arguments that decide while tracing.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        jitted = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            result: _R = jitted(*args, **kwargs)
            return result

        return call

    return decorate
