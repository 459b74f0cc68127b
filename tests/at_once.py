"""Calls as one compiled program each, not one for each of their operations."""

import functools
from collections.abc import Callable
from typing import Any

import jax


def at_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, each of whose calls compiles one program.

    In an eager call every operation is a program, and compiling tens of them takes most
    of the time of a small test. The arguments are not traced: numbers of the host and
    arrays are as known as in an eager call, and are checked like there.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return jax.jit(lambda: function(*args, **kwargs))()

    return call
