"""Which outputs of a program are inputs that are passed through unchanged."""

from typing import Any

from jaxdrop._programs._reading import Equation, aval_of, is_literal, program_of
from jaxdrop._programs._structure import Call, Choice, Loop, structure_of


def forwarded(program: Any, /) -> list[int | None]:
    """For each output the index of the input that it equals, or None.

    Inputs are followed through calls, choices and loops. None also if it is not known.
    """
    jaxpr = program_of(program)
    same: dict[Any, Any] = {v: v for v in jaxpr.invars}
    for equation in jaxpr.eqns:
        for var, place in zip(equation.outvars, _sources(equation), strict=True):
            source = None if place is None else equation.invars[place]
            # The operands of a call may have other shapes in it: a shard of an array.
            if source is None or is_literal(source) or not _alike(source, var):
                continue
            same[var] = same.get(source)
    places = {v: place for place, v in enumerate(jaxpr.invars)}
    return [
        None if is_literal(atom) else places.get(same.get(atom))
        for atom in jaxpr.outvars
    ]


def _alike(source: Any, var: Any) -> bool:
    shapes = (getattr(aval_of(atom), "shape", None) for atom in (source, var))
    return len(set(shapes)) == 1


def _sources(equation: Equation) -> list[int | None]:
    """For each output of an equation the index of the operand it equals, or None."""
    structure = structure_of(equation)
    if isinstance(structure, Call):
        return forwarded(structure.program)
    if isinstance(structure, Choice):
        branches = map(forwarded, structure.branches)
        agreed = [set(places) for places in zip(*branches, strict=True)]
        chosen = [places.pop() if len(places) == 1 else None for places in agreed]
        return [None if place is None else place + 1 for place in chosen]
    if isinstance(structure, Loop):
        return _sources_of_loop(structure)
    return [None] * len(equation.outvars)


def _sources_of_loop(loop: Loop) -> list[int | None]:
    """State that each step passes on, and arrays that are stacked as they are read.

    Constants of the condition are not inputs of the body, so that inputs of the body
    are operands with an offset.
    """
    before = loop.constants.start
    found: list[int | None] = []
    for output, place in enumerate(forwarded(loop.body)):
        operand = None if place is None else place + before
        if output < loop.num_carry:
            same = operand == loop.carry.start + output
        else:
            same = operand is not None and operand >= loop.read.start
        found.append(operand if same else None)
    return found
