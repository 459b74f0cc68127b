"""What one drawing costs: the shape, the bits and the bytes, read from its program."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

_BITS = ("jaxdrop.prng.random_bits", "jaxdrop.prng.bits_at")


class Drawn(NamedTuple):
    """What is drawn: the largest shape, and all bits and bytes."""

    shape: tuple[int, ...]
    bits: int
    memory: int


NOTHING = Drawn((), 0, 0)


def aval_of(atom: Any, /) -> Any:
    """The shape and dtype of a variable or literal."""
    return atom.aval


def is_key(atom: Any, /) -> bool:
    """Whether a variable holds a PRNG key, or an array of them."""
    dtype = getattr(atom.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def programs_in(equation: core.JaxprEqn, /) -> list[core.Jaxpr | core.ClosedJaxpr]:
    """The programs that an equation calls, branches of a choice one by one."""
    return [
        part
        for param in equation.params.values()
        for part in (param if isinstance(param, tuple | list) else (param,))
        if isinstance(part, core.Jaxpr | core.ClosedJaxpr)
    ]


def opened(program: core.Jaxpr | core.ClosedJaxpr, /) -> core.Jaxpr:
    """The jaxpr itself, whether it is closed or not."""
    return program.jaxpr if isinstance(program, core.ClosedJaxpr) else program


def drawn_by(equation: core.JaxprEqn, /) -> Drawn:
    """What an equation draws, with all that it calls."""
    name, aval = equation.primitive.name, aval_of(equation.outvars[0])
    if name == primitives.jit_p.name and equation.params["name"] in _BITS:
        return _entries(aval.shape, bits=32, itemsize=1)
    if name == "random_bits":
        return _entries(aval.shape, bits=equation.params["bit_width"], itemsize=1)
    if equation.params.get("draws") is not None:  # in tiles: nothing is kept
        return _entries(equation.params["draws"], bits=32, itemsize=0)
    inner = [_drawn_in(opened(program)) for program in programs_in(equation)]
    if name == primitives.cond_p.name:  # one of them runs
        return max(inner, key=lambda drawn: drawn.bits, default=NOTHING)
    total = _sum(inner)
    if name == primitives.scan_p.name:
        steps = equation.params["length"]
        return Drawn(total.shape, total.bits * steps, total.memory * steps)
    return total


def with_output(drawn: Drawn, equation: core.JaxprEqn, /) -> Drawn:
    """The same, in the bytes of what a function of ``jax.random`` returns."""
    aval = aval_of(equation.outvars[0])
    return Drawn(aval.shape, drawn.bits, aval.size * np.dtype(aval.dtype).itemsize)


def _drawn_in(jaxpr: core.Jaxpr) -> Drawn:
    """What a program draws; noise, of which bits become floats, takes four bytes."""
    total = _sum(drawn_by(equation) for equation in jaxpr.eqns)
    noise = sum(_floats_made(equation) for equation in jaxpr.eqns)
    return total._replace(memory=total.memory + 3 * noise)


def _floats_made(equation: core.JaxprEqn) -> int:
    if equation.primitive.name != "bitcast_convert_type":
        return 0
    made = np.issubdtype(equation.params["new_dtype"], np.floating)
    return int(aval_of(equation.outvars[0]).size) if made else 0


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
