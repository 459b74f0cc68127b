"""Metrics as one compiled program each, not one dispatch per operation."""

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

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
        signature = inspect.signature(function)
        optional = {
            name
            for name, parameter in signature.parameters.items()
            if "None" in str(parameter.annotation)
        }

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                if name in static:
                    _check_static(value, name=name)
                elif value is not None or name not in optional:
                    _check_numbers(value, name=name)
            result: _R = jitted(*args, **kwargs)
            return result

        return call

    return decorate


def _check_static(value: Any, /, *, name: str) -> None:
    if not isinstance(value, Hashable):
        raise TypeError(
            f"{name} is static, and must be a Python value that is known before "
            f"tracing, got {value!r}."
        )


def _check_numbers(value: Any, /, *, name: str) -> None:
    """Raises in our words where JAX would speak of what it traces."""
    try:
        for leaf in [value] if value is None else jax.tree.leaves(value):
            jax.typeof(leaf)
    except TypeError:
        raise TypeError(f"{name} must be an array of numbers, got {value!r}.") from None
