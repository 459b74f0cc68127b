"""Splitting a program into a trunk, which does not depend on the key, and a head.

The trunk is the same for every sample and runs once. Values that are cheap to recompute
but large to store stay in the head, such as the counters of a generator, or a bias that
is broadcast to the shape of a feature map.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxdrop import _programs
from jaxdrop._programs import (
    CHEAP,
    VIEWS,
    Call,
    Choice,
    Equation,
    Program,
    Variable,
    variables,
)
from jaxdrop.mc._dependence import Flags, depends, flags_of


class Split(NamedTuple):
    """A program of a key and arrays, in two parts.

    Attributes:
      trunk: computes, from the arrays, the values that the head needs.
      head: computes the outputs from the key and these values.
    """

    trunk: Program
    head: Program


def is_stochastic(program: Program, /) -> bool:
    """Whether any output depends on the first input, the key."""
    others = len(program.jaxpr.invars) - 1
    return any(depends(program, [True] + [False] * others))


def split(program: Program, /) -> Split:
    """Splits a program whose first input is the key."""
    flat = _Flat(program)
    if not flat.is_pure:  # references are written and read in an order that must stay
        return _all_head(program)
    in_head, needed = _head(flat)
    key, *arrays = flat.inputs
    produced = {v for e in in_head for v in e.outvars}
    kept = [v for v in needed if v not in produced and v is not key]
    trunk = _programs.built(
        program,
        inputs=arrays,
        outputs=kept,
        equations=_ancestors(flat, kept),
        constants=flat.constants,
    )
    head = _programs.built(
        program, inputs=[key, *kept], outputs=flat.outputs, equations=in_head
    )
    return Split(trunk, head)


def _all_head(program: Program) -> Split:
    arrays = program.jaxpr.invars[1:]
    trunk = _programs.built(program, inputs=arrays, outputs=arrays, equations=[])
    return Split(trunk, program)


class _Flat:
    """A program as one list of equations, in which mixed calls have been inlined.

    A mixed call is one of a jitted function of which one part depends on the key and
    another is worth running once. All other calls are kept, so that techniques can
    still be found by their names.
    """

    def __init__(self, program: Program) -> None:
        self.equations: list[Equation] = []
        self.constants: list[tuple[Variable, Any]] = []
        self.inputs = [_programs.fresh_variable(v) for v in program.jaxpr.invars]
        self.marked: set[Variable] = {self.inputs[0]}
        self.reached: set[int] = set()  # the equations that depend on the key
        self.outputs = self._inline(program, self.inputs)

    @property
    def is_pure(self) -> bool:
        """Whether all values are arrays."""
        atoms = (v for e in self.equations for v in (*e.invars, *e.outvars))
        return all(_programs.is_array(atom) for atom in atoms)

    def _inline(self, program: Any, inputs: Sequence[Any]) -> list[Any]:
        """Adds the equations of a program; returns its outputs, renamed."""
        jaxpr = _programs.program_of(program)
        constants = _programs.constants_of(program)
        names: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, constant in zip(jaxpr.constvars, constants, strict=True):
            names[var] = _programs.fresh_variable(var)
            self.constants.append((names[var], constant))

        def renamed(atom: Any) -> Any:
            return atom if _programs.is_literal(atom) else names[atom]

        for equation in jaxpr.eqns:
            operands = [renamed(a) for a in equation.invars]
            flags = flags_of(operands, self.marked)
            if _is_mixed(equation, flags):
                results = self._inline(_programs.inlinable(equation), operands)
            else:
                results = [_programs.fresh_variable(v) for v in equation.outvars]
                renewed = equation.replace(invars=operands, outvars=results)
                self.equations.append(renewed)
                if any(flags):
                    self.reached.add(id(renewed))
                    self.marked.update(results)
            names.update(zip(equation.outvars, results, strict=True))
        return [renamed(a) for a in jaxpr.outvars]


def _head(flat: _Flat) -> tuple[list[Equation], list[Variable]]:
    """The equations of the head, in order, and all variables they read."""
    light = _light(flat)
    needed = dict.fromkeys(variables(flat.outputs))
    chosen = []
    for equation in reversed(flat.equations):
        cheap = id(equation) in light and any(v in needed for v in equation.outvars)
        if id(equation) in flat.reached or cheap:
            chosen.append(equation)
            needed.update(dict.fromkeys(variables(equation.invars)))
    return chosen[::-1], list(needed)


def _light(flat: _Flat) -> set[int]:
    """Equations without the key that are cheaper to run again than to store."""
    light: set[int] = set()
    free: set[Variable] = set()  # computed from scalars alone, such as counters
    for equation in flat.equations:
        if id(equation) in flat.reached or _is_work(equation):
            continue
        operands = variables(equation.invars)
        if all(v in free or not v.aval.shape for v in operands):
            free.update(equation.outvars)
            light.add(id(equation))
        elif equation.primitive.name in VIEWS or _widens(equation):
            light.add(id(equation))
    return light


def _ancestors(flat: _Flat, kept: Sequence[Variable]) -> list[Equation]:
    """The equations that compute the kept values, and those with an effect."""
    needed = set(kept)
    chosen = []
    for equation in reversed(flat.equations):
        if id(equation) in flat.reached:
            continue
        if equation.effects or any(v in needed for v in equation.outvars):
            chosen.append(equation)
            needed.update(variables(equation.invars))
    return chosen[::-1]


def _is_mixed(equation: Equation, flags: Flags) -> bool:
    """Whether a call that depends on the key has work that does not depend on it."""
    called = _programs.inlinable(equation) if any(flags) else None
    return called is not None and _has_work_to_share(called, flags)


def _has_work_to_share(program: Any, inputs: Flags) -> bool:
    jaxpr = _programs.program_of(program)
    marked = {v for v, flag in zip(jaxpr.invars, inputs, strict=True) if flag}
    for equation in jaxpr.eqns:
        flags = flags_of(equation.invars, marked)
        if not any(flags):
            if _is_work(equation):
                return True
            continue
        if _is_mixed(equation, flags):
            return True
        marked.update(equation.outvars)
    return False


def _is_work(equation: Equation) -> bool:
    """Whether an equation costs more than the memory it reads."""
    if equation.effects:
        return True
    if isinstance(_programs.structure_of(equation), Call | Choice):
        called = _programs.programs_in(equation)
        return any(_is_work(e) for p in called for e in _programs.program_of(p).eqns)
    return equation.primitive.name not in CHEAP


def _widens(equation: Equation) -> bool:
    if equation.primitive.name != "convert_element_type":
        return False
    before = _programs.aval_of(equation.invars[0])
    after = _programs.aval_of(equation.outvars[0])
    return bool(after.dtype.itemsize > before.dtype.itemsize)
