"""Programs, equations and operands in the form of JAX's jaxprs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend import core

from jaxdrop._typing import PyTree

Equation: TypeAlias = core.JaxprEqn
Variable: TypeAlias = core.Var

_JIT = ("jit", "pjit")


class Program(NamedTuple):
    """A jaxpr and its constants, independent of the release of JAX.

    Attributes:
      jaxpr: the jaxpr.
      consts: the values of its ``constvars``.
    """

    jaxpr: Any
    consts: Sequence[Any]


def traced(function: Callable[..., Any], /, *args: Any) -> tuple[Program, PyTree]:
    """The program of a function, and the shapes of its results."""
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    return Program(program.jaxpr, program.consts), shapes


def program_of(program: Any, /) -> Any:
    """The jaxpr of a program, with or without attached constants."""
    return getattr(program, "jaxpr", program)


def constants_of(program: Any, /) -> Sequence[Any]:
    """The constants that are attached to a program; empty if there are none."""
    return tuple(getattr(program, "consts", ()))


def programs_in(equation: Equation, /) -> list[Any]:
    """The programs among the parameters of an equation, including those in tuples.

    Without ``not_run``, a program that attention shows to JAX alone.
    """
    return [
        part
        for name, param in equation.params.items()
        for part in (param if isinstance(param, tuple | list) else (param,))
        if _is_program(part) and name != "not_run"
    ]


def _is_program(value: Any, /) -> bool:
    """Whether a parameter is a program."""
    return all(
        hasattr(program_of(value), name) for name in ("eqns", "invars", "outvars")
    )


def aval_of(atom: Any, /) -> Any:
    """The shape and dtype of a variable or literal."""
    return atom.aval


def is_literal(atom: Any, /) -> bool:
    """Whether an operand is a number written into the program."""
    return isinstance(atom, core.Literal)


def variables(atoms: Sequence[Any], /) -> list[Any]:
    """The operands that are not literals."""
    return [atom for atom in atoms if not is_literal(atom)]


def is_array(atom: Any, /) -> bool:
    """Whether a variable is an array, and not a mutable reference."""
    return isinstance(aval_of(atom), jax.core.ShapedArray)


def is_key(atom: Any, /) -> bool:
    """Whether a variable holds a PRNG key, or an array of them."""
    dtype = getattr(aval_of(atom), "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def fresh_variable(atom: Any, /) -> Variable:
    """A new variable of the same shape and dtype."""
    return core.Var(aval_of(atom))


def jitted_name(equation: Equation, /) -> str | None:
    """The name of the jitted function that an equation calls, or None."""
    if equation.primitive.name not in _JIT:
        return None
    name = equation.params.get("name")
    return name if isinstance(name, str) else None


def argument_names(equation: Equation, /) -> list[Any]:
    """The names of the arguments of a call; empty if they are not known."""
    called = programs_in(equation)
    info = getattr(program_of(called[0]), "debug_info", None) if called else None
    names = list(getattr(info, "arg_names", None) or ())
    return names if len(names) == len(equation.invars) else []


def inlinable(equation: Equation, /) -> Any:
    """The program of a jitted call that may be replaced by its equations, or None.

    A call with shardings may not be replaced: its shardings would be dropped.
    """
    if equation.primitive.name not in _JIT:
        return None
    called = programs_in(equation)
    try:
        shardings = (
            *equation.params["in_shardings"],
            *equation.params["out_shardings"],
        )
    except (KeyError, TypeError):
        return None
    placed = any(isinstance(s, jax.sharding.Sharding) for s in shardings)
    return called[0] if len(called) == 1 and not placed else None


def scopes_of(equation: Equation, /) -> str:
    """The name scopes around an equation inside its program, joined by slashes."""
    return str(getattr(equation.source_info, "name_stack", ""))


def source_frames(equation: Equation, /) -> Iterator[tuple[str, int]]:
    """The files and lines that led to an equation, the innermost first."""
    traceback: Any = getattr(equation.source_info, "traceback", None)
    for frame in traceback.frames if traceback else ():
        yield frame.file_name, frame.line_num


def built(
    like: Program,
    /,
    *,
    inputs: Sequence[Variable],
    outputs: Sequence[Any],
    equations: Sequence[Equation],
    constants: Sequence[tuple[Variable, Any]] = (),
) -> Program:
    """A program of variables and equations; other fields are those of ``like``."""
    jaxpr = like.jaxpr.replace(
        constvars=[variable for variable, _ in constants],
        invars=list(inputs),
        outvars=list(outputs),
        eqns=list(equations),
        effects=frozenset().union(*(equation.effects for equation in equations)),
    )
    return Program(jaxpr, [constant for _, constant in constants])


def run(program: Program, /, *arrays: Any) -> list[Any]:
    """The outputs of a program."""
    # As while tracing, intermediate values are not checked for NaN.
    with jax.debug_nans(False):
        return jax.core.eval_jaxpr(program.jaxpr, program.consts, *arrays)
