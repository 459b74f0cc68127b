"""Jitted cores with names: how a technique is seen in a traced program.

Each technique, and each drawing of bits, is one jitted function whose name stands in
the traced program (``jaxdrop.dropout``). Called eagerly it costs one dispatch instead
of one per operation, and a model with many sites traces each distinct one once.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")


def site(
    name: str, /, *, static: tuple[str, ...] = ()
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Makes a function a named, jitted core.

    Args:
      name: the public name of the technique, as it will stand in the program.
      static: names of the arguments that decide while tracing.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        function.__name__ = function.__qualname__ = name
        jitted: Callable[_P, _R] = jax.jit(function, static_argnames=static)
        return jitted

    return decorate
