"""Which values of a traced program depend on some of its inputs."""

from collections.abc import Collection, Sequence
from typing import Any

from jaxdrop import _programs
from jaxdrop._programs import Call, Choice, Equation, Loop

Flags = list[bool]


def depends(program: Any, inputs: Sequence[bool], /) -> Flags:
    """Returns for each output of a program whether it depends on a marked input.

    Loops are iterated until nothing changes, calls are followed, and a choice by a
    marked value marks its outputs. Any other equation with a marked input marks all its
    outputs; if it has mutable references, it marks these as well.
    """
    jaxpr = _programs.program_of(program)
    marked = {v for v, flag in zip(jaxpr.invars, inputs, strict=True) if flag}
    for equation in jaxpr.eqns:
        flags = flags_of(equation.invars, marked)
        references = [v for v in equation.invars if not _programs.is_array(v)]
        if any(flags) and references:
            marked.update(references, equation.outvars)
            continue
        reached = _outputs_of(equation, flags)
        marked.update(v for v, f in zip(equation.outvars, reached, strict=True) if f)
    return flags_of(jaxpr.outvars, marked)


def flags_of(atoms: Sequence[Any], marked: Collection[Any], /) -> Flags:
    """Which operands of an equation are marked; literals never are."""
    return [not _programs.is_literal(a) and a in marked for a in atoms]


def _outputs_of(equation: Equation, inputs: Flags, /) -> Flags:
    """Which outputs of one equation depend on its marked inputs."""
    if not any(inputs):
        return [False] * len(equation.outvars)
    structure = _programs.structure_of(equation)
    if isinstance(structure, Call):
        return depends(structure.program, inputs)
    if isinstance(structure, Loop):
        return _loop(structure, inputs)
    if isinstance(structure, Choice) and not inputs[0]:
        branches = (depends(branch, inputs[1:]) for branch in structure.branches)
        return [any(flags) for flags in zip(*branches, strict=True)]
    return [True] * len(equation.outvars)


def _loop(loop: Loop, inputs: Flags) -> Flags:
    """Iterates until the state depends on nothing further.

    If the condition does, so does the number of steps, and with it the whole state.
    """
    carry = inputs[loop.carry]
    while True:
        flags = inputs[loop.constants] + carry + inputs[loop.read]
        outputs = depends(loop.body, flags)
        number_of_steps = (
            loop.condition is not None
            and depends(loop.condition, inputs[loop.tested] + carry)[0]
        )
        state = outputs[: loop.num_carry]
        grown = [a or b or number_of_steps for a, b in zip(carry, state, strict=True)]
        if grown == carry:
            return grown + outputs[loop.num_carry :]
        carry = grown
