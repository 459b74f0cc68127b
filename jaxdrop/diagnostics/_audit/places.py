"""Where in the user's code and modules an equation comes from."""

import pathlib
import re
from typing import Any

import jax
from jax.extend import core

_OWN = pathlib.Path(__file__).parents[2]
_LIBRARIES = (
    str(_OWN),
    str(pathlib.Path(jax.__file__).parent),
    *("/jaxlib/", "/flax/", "/equinox/", "/optax/", "<frozen"),
)
_MODULE = re.compile(r"\[([^\[\]]*)\]")
_TRANSFORM = re.compile(r"\w+\(|\)")


def marker(module: str, /) -> str:
    """The name of a scope that stands for the call of a module."""
    return f"[{module}]"


def scope_of(equation: core.JaxprEqn, outer: str, /) -> str:
    """All scopes around an equation, joined by slashes."""
    own = str(equation.source_info.name_stack)
    return f"{outer}/{own}" if outer and own else outer or own


def name_in(scope: str, source: str, /) -> str:
    """The innermost module of a scope, or the scope, or the line of code."""
    modules = _MODULE.findall(scope)
    if modules:
        return modules[-1]
    parts = [part for part in _TRANSFORM.sub("", scope).split("/") if part]
    return "/".join(parts) or source


def source_of(equation: core.JaxprEqn, /) -> str:
    """The innermost line of code that is not of a library."""
    traceback: Any = equation.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not any(library in frame.file_name for library in _LIBRARIES):
            return f"{pathlib.Path(frame.file_name).name}:{frame.line_num}"
    return ""
