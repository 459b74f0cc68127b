"""The draws of a program, as an audit collects them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxdrop import _programs
from jaxdrop._programs import ELEMENTWISE, Equation, Unknown, aval_of, is_key
from jaxdrop._sites import Traits, traits_of
from jaxdrop.diagnostics._audit.costs import Drawn, drawn_by, with_output
from jaxdrop.diagnostics._audit.report import Kind
from jaxdrop.diagnostics._audit.values import Chain, Value

UNKNOWN = "unknown"
_OURS = "jaxdrop."
# Private functions of jax.random, as they stand in a program.
_OF_JAX = frozenset(
    {
        *("_ball", "_bernoulli", "_beta", "_categorical", "_cauchy", "_dirichlet"),
        *("_exponential", "_gamma", "_geometric", "_gumbel", "_laplace"),
        *("_logistic", "_lognormal", "_maxwell", "_normal", "_normal_real"),
        *("_orthogonal", "_pareto", "_permutation", "_poisson", "_rademacher"),
        *("_randint", "_rayleigh", "_shuffle", "_t", "_truncated_normal"),
        *("_uniform", "_wald", "_weibull_min"),
    }
)
_DERIVES = frozenset(
    {
        *("random_clone", "random_fold_in", "random_seed", "random_split"),
        *("random_unwrap", "random_wrap"),
    }
)
_COMPARES = frozenset({"ge", "gt", "le", "lt"})
_OF_BERNOULLI = Traits("mask", "entries", adds_variance=True, breaks_selu=True)
_OF_OTHERS = Traits("noise", "bits")


@dataclasses.dataclass
class Draw:
    """A place in a program that draws.

    Attributes:
      function: the function that draws, without its package.
      package: ``"jaxdrop"``, ``"jax.random"``, or ``"unknown"`` for a primitive of
        which it is not known whether and what it draws.
      scope: the names of all scopes around, from the outside in.
      source: the line of code.
      drawn: what one step draws.
      steps: how many steps.
      key: the key.
      keep: the value that holds the keep probability, if there is one.
      rate: the rate, where static shapes tell it.
      loops: the loops around it.
      branches: which branches of which choices it is in.
      fed: the loops whose state it is fed with.
      faults: what was found about it alone.
    """

    function: str
    package: str
    scope: str
    source: str
    drawn: Drawn
    steps: int
    key: Value
    keep: Value | None
    rate: float | None
    loops: tuple[Chain, ...]
    branches: dict[Chain, int]
    fed: set[Chain] = dataclasses.field(default_factory=set)
    faults: set[Kind] = dataclasses.field(default_factory=set)

    def excludes(self, other: "Draw") -> bool:
        """Whether the two are in different branches of one choice."""
        return self.is_elsewhere(other.branches)

    @property
    def traits(self) -> Traits:
        """The facts that its function declares."""
        return known_of(self.package, self.function)

    def equals(self, other: "Draw") -> bool:
        """Whether both draw the same, with the same key and at the same rate."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[Any, ...]:
        keep = None if self.keep is None else self.keep.number
        return self.function, self.package, self.drawn, self.key.number, keep, self.rate

    def is_elsewhere(self, branches: Mapping[Chain, int]) -> bool:
        """Whether it is in another branch of one of these choices."""
        return any(
            branches.get(choice, branch) != branch
            for choice, branch in self.branches.items()
        )


class Draws(dict[int, Draw]):
    """The draws of a program by number, in the order of the program, each once.

    Attributes:
      by_platform: the choices that depend on the platform alone. Their branches hold
        one draw once for each platform.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_platform: set[Chain] = set()
        self._twins: dict[int, int] = {}

    def number_of(self, number: int, /) -> int:
        """The number under which a draw was added: its own, or that of its twin."""
        return self._twins.get(number, number)

    def repeated(self, function: str, key: Value, source: str, /) -> int | None:
        """The number of the draw that a backward pass draws again, or None.

        A loop backward reads its keys anew, so that only the line of code is left to
        tell.
        """
        like = {i: draw for i, draw in self.items() if draw.function == function}
        found = [i for i, draw in like.items() if draw.key.number == key.number]
        found += [i for i, draw in like.items() if draw.source == source]
        return found[0] if found else None

    def add(self, number: int, new: Draw, /) -> int:
        """Adds a draw, unless the branch for another platform draws the same."""
        choices = {c: b for c, b in new.branches.items() if c in self.by_platform}
        for twin, draw in self.items():
            if draw.is_elsewhere(choices) and draw.equals(new):
                self._twins[number] = twin
                return twin
        self[number] = new
        return number


def function_of(equation: Equation, /) -> tuple[str, str] | None:
    """The package and function that an equation draws for, or None."""
    if not any(is_key(atom) for atom in equation.invars):
        return None
    name, called = equation.primitive.name, _programs.jitted_name(equation)
    if called is not None:
        if called.startswith(_OURS) and called != "jaxdrop.masks.keep_probability":
            return "jaxdrop", called.removeprefix(_OURS)
        return ("jax.random", called.removeprefix("_")) if called in _OF_JAX else None
    outputs_keys = all(is_key(var) for var in equation.outvars)
    if name in _DERIVES or outputs_keys or not name.startswith("random_"):
        return None
    return "jax.random", name.removeprefix("random_")


def may_draw(equation: Equation, /) -> bool:
    """Whether an equation, itself not a known draw, may draw in an unknown way.

    It takes a key and returns something else than keys, or it holds programs in which
    something is drawn, and it is not known how often and with what keys they are run.
    """
    name = equation.primitive.name
    if isinstance(_programs.structure_of(equation), Unknown):
        return _holds_keys(equation)
    takes_key = any(is_key(atom) for atom in equation.invars)
    if not takes_key or name in _DERIVES or name in ELEMENTWISE:
        return False
    return not all(is_key(var) for var in equation.outvars)


def _holds_keys(equation: Equation) -> bool:
    if any(is_key(atom) for atom in (*equation.invars, *equation.outvars)):
        return True
    inner = map(_programs.program_of, _programs.programs_in(equation))
    return any(_holds_keys(e) for jaxpr in inner for e in jaxpr.eqns)


def data_of(equation: Equation, package: str, /) -> int | None:
    """Which operand is masked: the first after the key, if the function is ours."""
    if package != "jaxdrop" or len(equation.invars) < 2:
        return None
    operand = equation.invars[1]
    return 1 if getattr(operand.aval, "ndim", 0) and not is_key(operand) else None


def keep_of(equation: Equation, package: str, function: str, /) -> int | None:
    """Which operand holds the keep probability, by its name, or None."""
    if package != "jaxdrop" and function != "bernoulli":
        return None
    names = _programs.argument_names(equation)
    name = "keep" if package == "jaxdrop" else "p"
    return names.index(name) if name in names else None


def known_of(package: str, function: str, /) -> Traits:
    """What is known of a function that draws."""
    if package == "jaxdrop":
        return traits_of(_OURS + function)
    return _OF_BERNOULLI if function == "bernoulli" else _OF_OTHERS


def limit_of(equation: Equation, operands: Sequence[Value], /) -> int | None:
    """The number of what this equation compares random values with, or None.

    Attention compares inside of its primitive, which names its operands.
    """
    names = equation.params.get("names", ())
    if equation.params.get("draws") is not None and "keep" in names:
        return operands[names.index("keep")].number
    if equation.primitive.name not in _COMPARES:
        return None
    for drawn, limit in (operands, operands[::-1]):
        if drawn.sites and limit.uniform and not limit.sites:
            return limit.number
    return None


def cost_of(equation: Equation, package: str, function: str, /) -> Drawn:
    """What one step of a draw costs."""
    drawn = drawn_by(equation)
    if package == "jax.random":
        return with_output(drawn, equation)
    redraws = known_of(package, function).redraws
    return drawn._replace(memory=0) if redraws else drawn


def static_rate(
    equation: Equation, package: str, function: str, drawn: Drawn, /
) -> float | None:
    """The rate of a technique whose shapes depend on it."""
    if not known_of(package, function).resizes:
        return None
    axis, entries = len(drawn.shape) - 1, drawn.shape[-1]
    before, data = entries, data_of(equation, package)
    if data is not None:  # it returns data, of which some entries are never dropped
        before = aval_of(equation.invars[data]).shape[axis]
    dropped = before - aval_of(equation.outvars[0]).shape[axis]
    return dropped / entries if entries else None


def fed(draw: Draw, data: Value, aval: Any, loops: Sequence[Chain], /) -> None:
    """Looks at what a mask is applied to."""
    mask, ndim = draw.drawn.shape, aval.ndim
    traits = draw.traits
    if traits.acts_on not in ("entries", "regions"):
        return
    draw.fed.update(loop for loop in loops if loop in data.carries)
    if data.form == "selu" and traits.breaks_selu:
        draw.faults.add("selu")
    aligned = (1,) * (ndim - len(mask)) + mask
    by_entry = traits.acts_on == "entries"
    if by_entry and any(aligned[axis] > 1 for axis in data.spatial):
        draw.faults.add("convolution")
    if not by_entry and ndim == 3 and 1 < aval.shape[0] != aligned[0]:
        draw.faults.add("whole batch")
    weights = data.form == "softmax" and ndim > 2
    if weights and aligned[-3] == 1 < aval.shape[-3]:
        draw.faults.add("heads")
