"""How an equation runs the programs in it: as a call, a choice or a loop."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from jaxdrop._programs._reading import Equation, aval_of, program_of, programs_in


class Call(NamedTuple):
    """One program, run once, with all operands.

    Attributes:
      program: the program.
    """

    program: Any


class Choice(NamedTuple):
    """Several programs, of which the first operand selects one; the others are inputs.

    Attributes:
      branches: the programs.
      by_platform: whether the platform selects, so that only one of them is compiled.
    """

    branches: tuple[Any, ...]
    by_platform: bool


class Loop(NamedTuple):
    """A program that is run step by step.

    Its operands are constants, the carried state, and arrays of which each step reads
    one entry. Its outputs are the carried state, and results stacked over steps.

    Attributes:
      body: the program of one step, with inputs ``constants``, ``carry`` and ``read``.
      condition: the program that decides whether to continue, with inputs ``tested``
        and ``carry``; None if the number of steps is known.
      tested: the operands that are constants of the condition.
      constants: the operands that are constants of the body.
      carry: the operands that are the initial state.
      read: the operands that are read step by step.
      length: the number of steps, or None.
    """

    body: Any
    condition: Any
    tested: slice
    constants: slice
    carry: slice
    read: slice
    length: Any

    @property
    def num_carry(self) -> int:
        """The number of carried values, which are the first outputs of the body."""
        return int(self.carry.stop - self.carry.start)


class Unknown(NamedTuple):
    """Programs of which it is not known when, how often, and on which inputs they run.

    Attributes:
      programs: the programs.
    """

    programs: tuple[Any, ...]


Structure: TypeAlias = Call | Choice | Loop | Unknown

_CALLS = frozenset(
    {
        *("call", "core_call", "closed_call", "core_closed_call", "eval_jaxpr"),
        *("checkpoint", "remat", "remat2", "composite", "custom_jvp_call"),
        *("custom_vjp_call", "custom_vjp_call_jaxpr", "jit", "pjit", "shard_map"),
        "xla_metadata_call",
    }
)


def structure_of(equation: Equation, /) -> Structure | None:
    """How an equation runs the programs in it; None if there are none.

    Unknown primitives, and known ones with unexpected parameters, are :class:`Unknown`.
    """
    programs = programs_in(equation)
    if not programs:
        return None
    read = _READERS.get(equation.primitive.name)
    found = None if read is None else read(equation)
    return Unknown(tuple(programs)) if found is None else found


def _call(equation: Equation) -> Call | None:
    programs = programs_in(equation)
    inputs, outputs = len(equation.invars), len(equation.outvars)
    if len(programs) != 1 or not _takes(programs[0], inputs, outputs):
        return None
    return Call(programs[0])


def _choice(equation: Equation) -> Choice | None:
    branches = equation.params.get("branches")
    inputs, outputs = len(equation.invars) - 1, len(equation.outvars)
    if not isinstance(branches, tuple | list) or not branches:
        return None
    if not all(_takes(branch, inputs, outputs) for branch in branches):
        return None
    by_platform = equation.params.get("branches_platforms") is not None
    return Choice(tuple(branches), by_platform)


def _scan(equation: Equation) -> Loop | None:
    """A loop over the first axis of arrays; operands: constants, carry, arrays."""
    params = equation.params
    body, counts = params.get("jaxpr"), _scan_counts(params)
    inputs, outputs = len(equation.invars), len(equation.outvars)
    if counts is None or "length" not in params:
        return None
    if not _takes(body, inputs, outputs):
        return None
    first, last = counts[0], counts[0] + counts[1]
    if last > inputs or counts[1] > outputs:
        return None
    loop = Loop(
        body,
        condition=None,
        tested=slice(0, 0),
        constants=slice(0, first),
        carry=slice(first, last),
        read=slice(last, inputs),
        length=params["length"],
    )
    return loop if _fits(equation, loop) else None


def _scan_counts(params: Mapping[str, Any]) -> tuple[int, int] | None:
    """The numbers of operands of a scan that are constants, and that are carried."""
    if "num_consts" in params and "num_carry" in params:
        return params["num_consts"], params["num_carry"]
    groups = getattr(params.get("ft_in"), "unpack", None)
    try:
        constants, carry, _ = map(len, groups())  # type: ignore[misc]
    except (TypeError, ValueError):  # not the three groups of JAX 0.12
        return None
    return constants, carry


def _while(equation: Equation) -> Loop | None:
    """A loop with a condition; operands: its constants, the body's, the carry."""
    params, inputs = equation.params, len(equation.invars)
    first, more = params.get("cond_nconsts"), params.get("body_nconsts")
    if not isinstance(first, int) or not isinstance(more, int):
        return None
    last = first + more
    body, condition = params.get("body_jaxpr"), params.get("cond_jaxpr")
    carried = inputs - last
    if not _takes(body, inputs - first, carried) or len(equation.outvars) != carried:
        return None
    if not _takes(condition, inputs - more, 1):
        return None
    loop = Loop(
        body,
        condition=condition,
        tested=slice(0, first),
        constants=slice(first, last),
        carry=slice(last, inputs),
        read=slice(inputs, inputs),
        length=None,
    )
    return loop if _fits(equation, loop) else None


def _takes(program: Any, inputs: int, outputs: int) -> bool:
    """Whether a program has these numbers of inputs and outputs."""
    jaxpr = program_of(program)
    counts = (len(getattr(jaxpr, name, ())) for name in ("invars", "outvars"))
    return tuple(counts) == (inputs, outputs)


def _fits(equation: Equation, loop: Loop) -> bool:
    """Whether the shapes of operands match their roles in the body."""
    operands, body = equation.invars, program_of(loop.body)
    kept = [*operands[loop.constants], *operands[loop.carry]]
    inner = [_shape(atom) for atom in body.invars]
    state = [_shape(atom) for atom in body.outvars[: loop.num_carry]]
    return (
        [_shape(atom) for atom in kept] == inner[: len(kept)]
        and [_shape(atom)[1:] for atom in operands[loop.read]] == inner[len(kept) :]
        and [_shape(atom) for atom in operands[loop.carry]] == state
    )


def _shape(atom: Any) -> tuple[Any, ...]:
    return tuple(getattr(aval_of(atom), "shape", ()))


_READERS: Mapping[str, Callable[[Equation], Structure | None]] = {
    **dict.fromkeys(_CALLS, _call),
    "cond": _choice,
    "scan": _scan,
    "while": _while,
}
