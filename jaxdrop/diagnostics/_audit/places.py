"""Where in the user's code and modules an equation comes from."""

import pathlib
import re

import jax

from jaxdrop import _programs
from jaxdrop._programs import Equation

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


def scope_of(equation: Equation, outer: str, /) -> str:
    """All scopes around an equation, joined by slashes."""
    own = _programs.scopes_of(equation)
    return f"{outer}/{own}" if outer and own else outer or own


def name_in(scope: str, source: str, /) -> str:
    """The innermost module of a scope, or the scope, or the line of code."""
    modules = _MODULE.findall(scope)
    if modules:
        return modules[-1]
    parts = [part for part in _TRANSFORM.sub("", scope).split("/") if part]
    return "/".join(parts) or source


def source_of(equation: Equation, /) -> str:
    """The innermost line of code that is not of a library."""
    for file, line in _programs.source_frames(equation):
        if not any(library in file for library in _LIBRARIES):
            return f"{pathlib.Path(file).name}:{line}"
    return ""
