"""The cost of a draw: its shape, bits and bytes, read from its program."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxdrop import _programs
from jaxdrop._programs import Choice, Equation, Loop, aval_of

_BITS = ("jaxdrop.prng.random_bits", "jaxdrop.prng.bits_at")


class Drawn(NamedTuple):
    """The cost of a draw: the largest shape, and all bits and bytes."""

    shape: tuple[int, ...]
    bits: int
    memory: int


NOTHING = Drawn((), 0, 0)


def drawn_by(equation: Equation, /) -> Drawn:
    """The cost of an equation, with all that it calls."""
    aval: Any = aval_of(equation.outvars[0]) if equation.outvars else None
    if _programs.jitted_name(equation) in _BITS:
        return _entries(aval.shape, bits=32, itemsize=1)
    if equation.primitive.name == "random_bits":
        width = equation.params.get("bit_width", 32)
        return _entries(aval.shape, bits=width, itemsize=1)
    if equation.params.get("draws") is not None:  # in tiles: nothing is kept
        return _entries(equation.params["draws"], bits=32, itemsize=0)
    inner = [_drawn_in(program) for program in _programs.programs_in(equation)]
    structure = _programs.structure_of(equation)
    if isinstance(structure, Choice):  # one of them runs
        return max(inner, key=lambda drawn: drawn.bits, default=NOTHING)
    total = _sum(inner)
    if isinstance(structure, Loop) and structure.length is not None:
        steps = structure.length
        return Drawn(total.shape, total.bits * steps, total.memory * steps)
    return total


def with_output(drawn: Drawn, equation: Equation, /) -> Drawn:
    """The same, in the bytes of the output of a function of ``jax.random``."""
    aval = aval_of(equation.outvars[0])
    return Drawn(aval.shape, drawn.bits, aval.size * np.dtype(aval.dtype).itemsize)


def _drawn_in(program: Any) -> Drawn:
    """The cost of a program; noise, whose bits become floats, takes four bytes."""
    jaxpr = _programs.program_of(program)
    total = _sum(drawn_by(equation) for equation in jaxpr.eqns)
    noise = sum(_floats_made(equation) for equation in jaxpr.eqns)
    return total._replace(memory=total.memory + 3 * noise)


def _floats_made(equation: Equation) -> int:
    if equation.primitive.name != "bitcast_convert_type":
        return 0
    made = aval_of(equation.outvars[0])
    return int(made.size) if np.issubdtype(made.dtype, np.floating) else 0


def _sum(parts: Iterable[Drawn]) -> Drawn:
    parts = list(parts)
    largest = max(parts, key=lambda drawn: drawn.bits, default=NOTHING)
    return Drawn(
        largest.shape,
        sum(part.bits for part in parts),
        sum(part.memory for part in parts),
    )


def _entries(shape: tuple[int, ...], *, bits: int, itemsize: int) -> Drawn:
    size = math.prod(shape)
    return Drawn(tuple(shape), size * bits, size * itemsize)
