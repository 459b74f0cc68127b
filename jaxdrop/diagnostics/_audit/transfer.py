"""How one equation of a traced program passes on the facts about its operands."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdrop._programs import (
    ELEMENTWISE,
    LAYOUT,
    Equation,
    aval_of,
    is_key,
    is_literal,
)
from jaxdrop.diagnostics._audit.draws import Draw, data_of
from jaxdrop.diagnostics._audit.values import (
    Numbers,
    Value,
    joined,
    moved_axes,
    union,
)

_SELU_SCALE = 1.0507009873554805
_KEEPS_MAPS = LAYOUT | ELEMENTWISE | {"concatenate", "pad", "reduce_precision"}
_POOLS = ("reduce_window", "cumsum")


def passed(equation: Equation, operands: Sequence[Value], number: int, /) -> Value:
    """The facts about an output of an equation that calls and draws nothing."""
    return Value(
        number=number,
        sites=union(operand.sites for operand in operands),
        noisy=union(operand.noisy for operand in operands),
        direct=_direct(equation, operands),
        varies=union(operand.varies for operand in operands),
        carries=union(operand.carries for operand in operands),
        form=_form(equation, operands),
        mask=_mask(equation, operands),
        statistic=_statistic(equation, operands),
        spatial=_spatial(equation, operands),
        uniform=_uniform(equation, operands),
    )


def drawn(
    equation: Equation,
    operands: Sequence[Value],
    index: int,
    draw: Draw,
    numbers: Numbers,
    /,
) -> list[Value]:
    """The facts about the outputs of an equation that draws, with the draw's number."""
    data, here = data_of(equation, draw.package), frozenset({index})
    adds = draw.traits.adds_variance
    acts = draw.traits.acts_on in ("entries", "regions")
    if draw.package == "jax.random":  # a mask a row is stochastic depth
        adds = adds and sum(size > 1 for size in draw.drawn.shape) > 1
    outputs = []
    for position, var in enumerate(equation.outvars):
        value = joined(operands, numbers.of("drawn", index, position))
        keeps_maps = data is not None and (
            aval_of(var).shape == aval_of(equation.invars[data]).shape
        )
        outputs.append(
            dataclasses.replace(
                value,
                sites=value.sites | here,
                noisy=value.noisy | here if adds else value.noisy,
                direct=here if acts and data is not None else frozenset(),
                form="",
                mask=index if draw.function == "bernoulli" else None,
                spatial=operands[data].spatial if keeps_maps and data else (),
                uniform=False,
            )
        )
    return outputs


def masked(equation: Equation, operands: Sequence[Value], /) -> tuple[int, int] | None:
    """A draw and the operand to which its mask is applied, in this equation."""
    name = equation.primitive.name
    if name == "select_n" and operands[0].mask is not None:
        cases = range(1, len(operands))
        data = max(cases, key=lambda index: not operands[index].uniform)
        return operands[0].mask, data
    if name == "mul":
        for index, other in ((0, 1), (1, 0)):
            mask = operands[index].mask
            if mask is not None and not operands[other].uniform:
                return mask, other
    return None


def normalized(equation: Equation, operands: Sequence[Value], /) -> frozenset[int]:
    """The draws whose noise is divided by a deviation over the batch here."""
    if equation.primitive.name not in ("mul", "div"):
        return frozenset()
    found: frozenset[int] = frozenset()
    for scale, data in (operands, operands[::-1]):
        if scale.form == "deviation" and not data.statistic:
            found |= scale.statistic & data.noisy
    return found


def shared_weights(equation: Equation, operands: Sequence[Value], /) -> frozenset[Any]:
    """The loops whose state is multiplied here by weights that all steps share."""
    if equation.primitive.name not in ("dot_general", "conv_general_dilated"):
        return frozenset()
    first, second = operands
    return (first.carries - second.varies) | (second.carries - first.varies)


def reads_data(state: Sequence[Any], read: Sequence[Any], /) -> bool:
    """Whether what a loop reads step by step is data, and not a rate or scale a layer.

    A step of data has all axes of the state, those of a batch included.
    """
    ranks = [atom.aval.ndim for atom in state if _is_float(atom) and atom.aval.ndim]
    least = min(ranks, default=1)
    return any(_is_float(atom) and atom.aval.ndim > least for atom in read)


def _direct(equation: Equation, operands: Sequence[Value]) -> frozenset[int]:
    """Through layout, scaling and the steps of a softmax, which change no argmax."""
    name = equation.primitive.name
    if name in LAYOUT or name in ("exp", "log") or _scales(equation, operands):
        return operands[_data_of(operands)].direct
    if name in ("sub", "div") and operands[1].sites >= operands[0].direct:
        return operands[0].direct
    return frozenset()


def _scales(equation: Equation, operands: Sequence[Value]) -> bool:
    name = equation.primitive.name
    return name in ("mul", "div") and any(operand.uniform for operand in operands)


def _data_of(operands: Sequence[Value]) -> int:
    return next((i for i, operand in enumerate(operands) if not operand.uniform), 0)


def _form(equation: Equation, operands: Sequence[Value]) -> str:
    """The next step on the way to a softmax, a SELU or a deviation over the batch.

    Such functions are several equations in a program, found one after the other.
    """
    name = equation.primitive.name
    if name == "exp":
        return "exponential"
    if name == "reduce_sum" and operands[0].form == "exponential":
        last = aval_of(equation.invars[0]).ndim - 1
        summed = equation.params.get("axes") == (last,)
        return "sum of exponentials" if summed else ""
    if name == "div" and [o.form for o in operands] == [
        "exponential",
        "sum of exponentials",
    ]:
        return "softmax"
    if name in ("rsqrt", "sqrt") and operands[0].statistic:
        return "deviation"
    if name == "mul" and any(_is_selu_scale(atom) for atom in equation.invars):
        return "selu"
    if name in LAYOUT or _scales(equation, operands):
        return operands[_data_of(operands)].form
    if name in ELEMENTWISE and any(o.form == "deviation" for o in operands):
        return "deviation"
    return ""


def _is_selu_scale(atom: Any) -> bool:
    if not is_literal(atom) or np.ndim(atom.val):
        return False
    precision = 1e-6 if aval_of(atom).dtype.itemsize > 2 else 4e-3
    return abs(float(np.real(atom.val)) - _SELU_SCALE) < precision


def _mask(equation: Equation, operands: Sequence[Value]) -> int | None:
    name = equation.primitive.name
    if name in LAYOUT or name == "not" or _scales(equation, operands):
        return operands[_data_of(operands)].mask
    return None


def _statistic(equation: Equation, operands: Sequence[Value]) -> frozenset[int]:
    """Sums over the batch, but not over all axes, and what is computed from them.

    A statistic over the first axis is one of the batch: normalization of layers, groups
    and instances never takes one. A ``psum`` over an axis that ``vmap`` has named is a
    sum over the first one too; over devices, it passes on the statistics of each.
    """
    name = equation.primitive.name
    over_axis_names = name in ("psum", "psum_invariant")
    if name == "reduce_sum" or over_axis_names:
        axes = equation.params.get("axes", ())
        ndim = aval_of(equation.invars[0]).ndim
        if 0 in axes and len(axes) < ndim:
            return operands[0].noisy
    dependent = [operand for operand in operands if operand.noisy]
    passes = over_axis_names or name in LAYOUT | ELEMENTWISE
    if not passes or not all(o.statistic for o in dependent):
        return frozenset()
    return union(operand.statistic for operand in dependent)


def _spatial(equation: Equation, operands: Sequence[Value]) -> tuple[int, ...]:
    name = equation.primitive.name
    if name == "conv_general_dilated":
        numbers = equation.params.get("dimension_numbers")
        return tuple(getattr(numbers, "out_spec", ())[2:])
    if name in LAYOUT and operands[0].spatial:
        return moved_axes(equation, operands[0].spatial)
    if name in _KEEPS_MAPS or name.startswith(_POOLS):
        ndim = aval_of(equation.outvars[0]).ndim
        for operand, atom in zip(operands, equation.invars, strict=True):
            if operand.spatial and aval_of(atom).ndim == ndim:
                return operand.spatial
    return ()


def _uniform(equation: Equation, operands: Sequence[Value]) -> bool:
    if getattr(aval_of(equation.outvars[0]), "size", 0) == 1:
        return True
    if equation.primitive.name not in LAYOUT | ELEMENTWISE:
        return False
    return all(operand.uniform for operand in operands)


def _is_float(atom: Any) -> bool:
    dtype = getattr(atom.aval, "dtype", None)
    return (
        dtype is not None
        and not is_key(atom)
        and bool(jnp.issubdtype(dtype, jnp.inexact))
    )
