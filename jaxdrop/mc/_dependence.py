"""Which values of a traced program depend on some of its inputs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core
from jax.extend.core import primitives

Flags = list[bool]


def depends(program: Any, inputs: Sequence[bool], /) -> Flags:
    """Says for each output of a jaxpr whether it depends on an input that is marked.

    Loops are followed until nothing changes, calls are entered, and a branch that is
    chosen by a marked value is marked; an equation that is not known to be any of these
    passes its marks on to all its outputs. So does one that may write to a reference,
    which is marked itself.
    """
    jaxpr = opened(program)
    marked = {v for v, flag in zip(jaxpr.invars, inputs, strict=True) if flag}
    for equation in jaxpr.eqns:
        flags = flags_of(equation.invars, marked)
        references: list[Any] = [v for v in equation.invars if not is_array(v)]
        if any(flags) and references:
            marked.update(references, equation.outvars)
            continue
        reached = outputs_of(equation, flags)
        marked.update(v for v, f in zip(equation.outvars, reached, strict=True) if f)
    return flags_of(jaxpr.outvars, marked)


def flags_of(atoms: Sequence[Any], marked: Collection[Any], /) -> Flags:
    """Which of an equation's operands are marked; a literal never is."""
    return [not isinstance(a, core.Literal) and a in marked for a in atoms]


def outputs_of(equation: core.JaxprEqn, inputs: Flags, /) -> Flags:
    """Which outputs of one equation depend on its marked inputs."""
    if not any(inputs):
        return [False] * len(equation.outvars)
    rule = _RULES.get(equation.primitive.name, _everything)
    return rule(equation, inputs)


def is_array(atom: Any, /) -> bool:
    """Whether a variable is a value, and not a reference to one that may change."""
    return isinstance(atom.aval, jax.core.ShapedArray)


def opened(program: Any, /) -> core.Jaxpr:
    """The jaxpr itself, whether it is closed or not."""
    jaxpr: core.Jaxpr = getattr(program, "jaxpr", program)
    return jaxpr


def _everything(equation: core.JaxprEqn, inputs: Flags) -> Flags:
    del inputs
    return [True] * len(equation.outvars)


def _call(name: str) -> Callable[[core.JaxprEqn, Flags], Flags]:
    return lambda equation, inputs: depends(equation.params[name], inputs)


def _scan(equation: core.JaxprEqn, inputs: Flags) -> Flags:
    first = equation.params["num_consts"]
    last = first + equation.params["num_carry"]
    while True:
        outputs = depends(equation.params["jaxpr"], inputs)
        carry, size = inputs[first:last], last - first
        grown = [a or b for a, b in zip(carry, outputs[:size], strict=True)]
        if grown == carry:
            return grown + outputs[size:]
        inputs = inputs[:first] + grown + inputs[last:]


def _while(equation: core.JaxprEqn, inputs: Flags) -> Flags:
    params = equation.params
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    carry = inputs[last:]
    while True:
        stops = depends(params["cond_jaxpr"], inputs[:first] + carry)[0]
        outputs = depends(params["body_jaxpr"], inputs[first:last] + carry)
        grown = [a or b or stops for a, b in zip(carry, outputs, strict=True)]
        if grown == carry:
            return grown
        carry = grown


def _cond(equation: core.JaxprEqn, inputs: Flags) -> Flags:
    if inputs[0]:  # which branch is taken
        return [True] * len(equation.outvars)
    branches = (depends(b, inputs[1:]) for b in equation.params["branches"])
    return [any(flags) for flags in zip(*branches, strict=True)]


_RULES: Mapping[str, Callable[[core.JaxprEqn, Flags], Flags]] = {
    primitives.scan_p.name: _scan,
    primitives.while_p.name: _while,
    primitives.cond_p.name: _cond,
    primitives.jit_p.name: _call("jaxpr"),
    primitives.remat_p.name: _call("jaxpr"),
    primitives.custom_jvp_call_p.name: _call("call_jaxpr"),
    primitives.custom_vjp_call_p.name: _call("call_jaxpr"),
    primitives.closed_call_p.name: _call("call_jaxpr"),
    "shard_map": _call("jaxpr"),
}
