"""Splitting a program into a trunk, which no key reaches, and a head.

The trunk is the same for every sample and runs once. What is cheap to compute again,
and large to keep, stays in the head: the counters of a generator, a bias that is
broadcast to the shape of a feature map.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.extend.core import primitives

from jaxdrop.mc._dependence import Flags, depends, flags_of, is_array, opened

_JIT = primitives.jit_p.name

# What costs no more than the memory it reads, and is fused into what comes after it.
_LAYOUT = frozenset({"broadcast_in_dim", "reshape", "squeeze", "transpose"})
_CHEAP = _LAYOUT.union(
    ("abs", "add", "add_any", "atan2", "ceil", "clamp", "cos", "div", "erf", "exp"),
    ("exp2", "expm1", "floor", "integer_pow", "is_finite", "log", "log1p", "logistic"),
    ("max", "min", "mul", "neg", "nextafter", "pow", "rem", "round", "rsqrt", "sign"),
    ("sin", "sqrt", "square", "sub", "tanh"),
    ("eq", "ge", "gt", "le", "lt", "ne", "and", "not", "or", "xor", "select_n"),
    ("shift_left", "shift_right_arithmetic", "shift_right_logical", "iota"),
    ("bitcast_convert_type", "convert_element_type", "copy", "copy_p"),
    ("concatenate", "pad", "rev", "slice"),
)


class Split(NamedTuple):
    """A program of a key and arrays, in two parts.

    Attributes:
      trunk: from the arrays to what the head needs of them.
      head: from the key and these to the outputs.
    """

    trunk: core.ClosedJaxpr
    head: core.ClosedJaxpr


def is_stochastic(program: core.ClosedJaxpr, /) -> bool:
    """Whether any output depends on the first input, the key."""
    others = len(program.jaxpr.invars) - 1
    return any(depends(program, [True] + [False] * others))


def split(program: core.ClosedJaxpr, /) -> Split:
    """Splits a program whose first input is the key."""
    flat = _Flat(program)
    if not flat.is_pure:  # references are written and read in an order that must stay
        return _all_head(program)
    in_head, needed = _head(flat)
    key, *arrays = flat.inputs
    produced = {v for e in in_head for v in e.outvars}
    kept = [v for v in needed if v not in produced and v is not key]
    jaxpr = program.jaxpr
    head = jaxpr.replace(
        constvars=[], invars=[key, *kept], outvars=flat.outputs, eqns=in_head
    )
    trunk = jaxpr.replace(
        constvars=[var for var, _ in flat.consts],
        invars=arrays,
        outvars=kept,
        eqns=_ancestors(flat, kept),
    )
    consts = [const for _, const in flat.consts]
    return Split(core.ClosedJaxpr(trunk, consts), core.ClosedJaxpr(head, []))


def _all_head(program: core.ClosedJaxpr) -> Split:
    arrays = program.jaxpr.invars[1:]
    trunk = program.jaxpr.replace(
        constvars=[], invars=arrays, outvars=arrays, eqns=[], effects=frozenset()
    )
    return Split(core.ClosedJaxpr(trunk, []), program)


class _Flat:
    """A program as one list of equations, in which mixed calls have been opened.

    A jitted function of which one part depends on the key, and another is worth
    running once, is replaced by its equations. All other calls stay as they are, so
    that a technique is still seen by its name.
    """

    def __init__(self, program: core.ClosedJaxpr) -> None:
        self.equations: list[core.JaxprEqn] = []
        self.consts: list[tuple[core.Var, Any]] = []
        self.inputs = [core.Var(v.aval) for v in program.jaxpr.invars]
        self.marked: set[core.Var] = {self.inputs[0]}
        self.reached: set[int] = set()  # the equations that the key reaches
        self.outputs = self._open(program.jaxpr, program.consts, self.inputs)

    @property
    def is_pure(self) -> bool:
        """Whether all values are arrays."""
        return all(is_array(v) for e in self.equations for v in (*e.invars, *e.outvars))

    def _open(
        self, jaxpr: core.Jaxpr, consts: Sequence[Any], inputs: Sequence[Any]
    ) -> list[Any]:
        names: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, const in zip(jaxpr.constvars, consts, strict=True):
            names[var] = core.Var(var.aval)
            self.consts.append((names[var], const))

        def renamed(atom: Any) -> Any:
            return atom if isinstance(atom, core.Literal) else names[atom]

        for equation in jaxpr.eqns:
            operands = [renamed(a) for a in equation.invars]
            flags = flags_of(operands, self.marked)
            if _is_mixed(equation, flags):
                inner = equation.params["jaxpr"]
                results = self._open(inner.jaxpr, inner.consts, operands)
            else:
                results = [core.Var(v.aval) for v in equation.outvars]
                renewed = equation.replace(invars=operands, outvars=results)
                self.equations.append(renewed)
                if any(flags):
                    self.reached.add(id(renewed))
                    self.marked.update(results)
            names.update(zip(equation.outvars, results, strict=True))
        return [renamed(a) for a in jaxpr.outvars]


def _head(flat: _Flat) -> tuple[list[core.JaxprEqn], list[core.Var]]:
    """The equations of the head, in order, and all variables they read."""
    light = _light(flat)
    needed = dict.fromkeys(_variables(flat.outputs))
    chosen = []
    for equation in reversed(flat.equations):
        cheap = id(equation) in light and any(v in needed for v in equation.outvars)
        if id(equation) in flat.reached or cheap:
            chosen.append(equation)
            needed.update(dict.fromkeys(_variables(equation.invars)))
    return chosen[::-1], list(needed)


def _light(flat: _Flat) -> set[int]:
    """Equations that no key reaches, and that are better computed again than kept."""
    light: set[int] = set()
    free: set[core.Var] = set()  # made of nothing but numbers, such as counters
    for equation in flat.equations:
        if id(equation) in flat.reached or _is_work(equation):
            continue
        operands = _variables(equation.invars)
        if all(v in free or not v.aval.shape for v in operands):
            free.update(equation.outvars)
            light.add(id(equation))
        elif equation.primitive.name in _LAYOUT or _widens(equation):
            light.add(id(equation))
    return light


def _ancestors(flat: _Flat, kept: Sequence[core.Var]) -> list[core.JaxprEqn]:
    """What has to run for the values that are kept, and what has an effect."""
    needed = set(kept)
    chosen = []
    for equation in reversed(flat.equations):
        if id(equation) in flat.reached:
            continue
        if equation.effects or any(v in needed for v in equation.outvars):
            chosen.append(equation)
            needed.update(_variables(equation.invars))
    return chosen[::-1]


def _is_mixed(equation: core.JaxprEqn, flags: Flags) -> bool:
    """Whether a call that the key reaches holds work that it does not reach."""
    if equation.primitive.name != _JIT or not any(flags):
        return False
    placed = (*equation.params["in_shardings"], *equation.params["out_shardings"])
    if any(isinstance(s, jax.sharding.Sharding) for s in placed):
        return False
    return _has_work_to_share(opened(equation.params["jaxpr"]), flags)


def _has_work_to_share(jaxpr: core.Jaxpr, inputs: Flags) -> bool:
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


def _is_work(equation: core.JaxprEqn) -> bool:
    """Whether an equation costs more than the memory it reads."""
    if equation.effects:
        return True
    if equation.primitive.name == _JIT:
        return any(_is_work(e) for e in opened(equation.params["jaxpr"]).eqns)
    return equation.primitive.name not in _CHEAP


def _widens(equation: core.JaxprEqn) -> bool:
    if equation.primitive.name != "convert_element_type":
        return False
    before: Any = equation.invars[0].aval
    after: Any = equation.outvars[0].aval
    return bool(after.dtype.itemsize > before.dtype.itemsize)


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [a for a in atoms if not isinstance(a, core.Literal)]
