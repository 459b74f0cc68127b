"""The source of an equation in the user's code and modules."""

import pathlib
import re
from typing import NamedTuple

import jax

from jaxdrop import _programs
from jaxdrop._programs import Equation
from jaxdrop.diagnostics._audit.values import Chain

PROGRAM: Chain = ()

_OWN = pathlib.Path(__file__).parents[2]
_LIBRARIES = (
    str(_OWN),
    str(pathlib.Path(jax.__file__).parent),
    *("/jaxlib/", "/flax/", "/equinox/", "/optax/", "<frozen"),
)
_MODULE = re.compile(r"\[([^\[\]]*)\]")
_TRANSFORM = re.compile(r"\w+\(|\)")


class Place(NamedTuple):
    """The place of an equation in a program.

    Attributes:
      chain: the equations that lead to it.
      scope: the names of the scopes around it.
      loops: the loops around it, the whole program first.
      steps: the number of times it runs in one pass.
      branches: which branches of which choices it is in.
      recomputes: whether it is part of a backward pass.
    """

    chain: Chain = ()
    scope: str = ""
    loops: tuple[Chain, ...] = (PROGRAM,)
    steps: int = 1
    branches: tuple[tuple[Chain, int], ...] = ()
    recomputes: bool = False

    def in_branch(self, index: int) -> "Place":
        """The place of a branch, if this is the place of a choice."""
        branches = (*self.branches, (self.chain, index))
        return self._replace(chain=(*self.chain, index), branches=branches)


def within(place: Place, equation: Equation, /) -> Place:
    """The place of an equation of the program that runs at ``place``."""
    scope = _scope_of(equation, place.scope)
    return place._replace(
        chain=(*place.chain, id(equation)),
        scope=scope,
        recomputes=place.recomputes or "transpose(" in scope,
    )


def marker(module: str, /) -> str:
    """The name of a scope that stands for the call of a module."""
    return f"[{module}]"


def _scope_of(equation: Equation, outer: str, /) -> str:
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
