"""Calls as one compiled program each, not one for each of their operations."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

AS_WRITTEN = {"xla_disable_hlo_passes": "constant_folding"}
"""Asks XLA to compile what it could evaluate itself, slowly, since all is known."""


def at_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, each of whose calls compiles one program.

    In an eager call every operation is a program, and compiling tens of them takes most
    of the time of a small test. The arguments are not traced: numbers of the host and
    NumPy arrays are checked as in an eager call; what is computed from them within the
    call is traced (`test_eager_calls.py` compares both). Within another program, and
    with traced arguments, the function itself is called.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = functools.partial(function, *args, **kwargs)
        leaves = jnp.zeros(()), *jax.tree.leaves((args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return given()
        return jax.jit(lambda: given(), compiler_options=AS_WRITTEN)()

    return call
