"""Walking a traced program: where it draws, and what becomes of that."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import numpy as np

from jaxdrop import _programs
from jaxdrop._programs import Call, Choice, Equation, Loop, is_key
from jaxdrop.diagnostics._audit import transfer
from jaxdrop.diagnostics._audit.costs import NOTHING
from jaxdrop.diagnostics._audit.draws import (
    UNKNOWN,
    Draw,
    Draws,
    cost_of,
    data_of,
    fed,
    function_of,
    keep_of,
    known_of,
    limit_of,
    may_draw,
    static_rate,
)
from jaxdrop.diagnostics._audit.places import PROGRAM, Place, source_of, within
from jaxdrop.diagnostics._audit.values import (
    Chain,
    Numbers,
    Value,
    decided_by,
    identifies,
    joined,
)

_ROUNDS = 8  # of a loop: noise that reaches a state later is not followed


class Walk:
    """What a program draws.

    Attributes:
      draws: by number, in the order of the program.
      timed: the loops that read data step by step.
      recurrent: those whose state goes through weights that all steps share.
      numbers: what values are equal, and what small ones are.
      limits: what random values are compared with.
      inputs: the values of the program's inputs.
      differentiates: whether there is a backward pass.
    """

    def __init__(self) -> None:
        self.draws = Draws()
        self.timed: set[Chain] = set()
        self.recurrent: set[Chain] = set()
        self.numbers = Numbers()
        self.limits: set[int] = set()
        self.inputs: list[Value] = []
        self.differentiates = False

    def program(
        self, program: Any, inputs: Sequence[Any], /, fixed: Collection[int] = ()
    ) -> list[Value]:
        """Walks a whole program; ``inputs`` are arrays, or their shapes.

        Those at the ``fixed`` positions are the same in every call.
        """
        values = []
        for index, array in enumerate(inputs):
            number = self.numbers.of("input", index)
            if isinstance(array, jax.Array | np.ndarray) and identifies(array):
                number = self.numbers.of_constant(array)
            changes = frozenset() if index in fixed else frozenset({PROGRAM})
            values.append(Value(number, varies=changes))
        self.inputs = values
        return self._run(program, values, Place())

    def _run(self, program: Any, inputs: Sequence[Value], place: Place) -> list[Value]:
        """Walks a program, or one inside it; returns the values of its outputs."""
        jaxpr = _programs.program_of(program)
        constants = map(self._constant, _programs.constants_of(program))
        known = dict(zip(jaxpr.invars, inputs, strict=True))
        known.update(zip(jaxpr.constvars, constants, strict=False))

        def look_up(atom: Any) -> Value:
            if _programs.is_literal(atom):
                return self._constant(np.asarray(atom.val))
            return known.get(atom) or Value(self.numbers.of("unknown", id(atom)))

        for equation in jaxpr.eqns:
            operands = [look_up(atom) for atom in equation.invars]
            outputs = self._equation(equation, operands, within(place, equation))
            known.update(zip(equation.outvars, outputs, strict=True))
        return [look_up(atom) for atom in jaxpr.outvars]

    def _constant(self, constant: Any) -> Value:
        size = getattr(constant, "size", 0)
        return Value(self.numbers.of_constant(constant), uniform=size == 1)

    def _equation(
        self, equation: Equation, operands: list[Value], place: Place
    ) -> list[Value]:
        """The values of the outputs of an equation, by its kind."""
        self.differentiates |= "transpose(" in place.scope
        drawing = function_of(equation)
        if drawing is not None:
            return self._draw(equation, operands, place, *drawing)
        structure = _programs.structure_of(equation)
        if isinstance(structure, Call):
            again = bool(equation.params.get("differentiated", False))
            inner = place._replace(recomputes=place.recomputes or again)
            return self._run(structure.program, operands, inner)
        if isinstance(structure, Choice):
            return self._choice(structure, operands, place)
        if isinstance(structure, Loop):
            return self._loop(equation, structure, operands, place)
        outputs = self._plain(equation, operands, place)
        if may_draw(equation):
            return self._unknown(equation, operands, outputs, place)
        return outputs

    def _plain(
        self, equation: Equation, operands: list[Value], place: Place
    ) -> list[Value]:
        """An equation that neither draws nor is known to call a program."""
        limit = limit_of(equation, operands)
        self.limits |= set() if limit is None else {limit}
        self.recurrent |= self.timed & transfer.shared_weights(equation, operands)
        numbers = tuple(operand.number for operand in operands)
        outputs = []
        for index in range(len(equation.outvars)):
            number = self.numbers.of_result(equation, numbers, index)
            outputs.append(transfer.passed(equation, operands, number))
        applied = transfer.masked(equation, operands)
        if applied is not None:
            mask, data = applied
            draw = self.draws[mask]
            fed(draw, operands[data], equation.invars[data].aval, place.loops)
            outputs = [
                dataclasses.replace(o, direct=frozenset({mask})) for o in outputs
            ]
        for index in transfer.normalized(equation, operands):
            self.draws[index].faults.add("batch norm")
        return outputs

    def _draw(
        self,
        equation: Equation,
        operands: list[Value],
        place: Place,
        package: str,
        function: str,
    ) -> list[Value]:
        """An equation that draws: adds the draw, or finds the one that it repeats."""
        key = next(
            o for o, a in zip(operands, equation.invars, strict=True) if is_key(a)
        )
        again = None
        if place.recomputes:
            again = self.draws.repeated(function, key, source_of(equation))
        index = self.numbers.of("draw", place.chain) if again is None else again
        index = self.draws.number_of(index)
        if index not in self.draws:
            drawn = cost_of(equation, package, function)
            new = Draw(
                function=function,
                package=package,
                scope=place.scope,
                source=source_of(equation),
                drawn=drawn,
                steps=place.steps,
                key=key,
                keep=self._keep(equation, operands, place, package, function),
                rate=static_rate(equation, package, function, drawn),
                loops=place.loops,
                branches=dict(place.branches),
            )
            index = self.draws.add(index, new)
        draw = self.draws[index]
        data = data_of(equation, package)
        if not place.recomputes:
            draw.key = key  # what is known of it may have grown with a further round
        if data is not None and not place.recomputes:
            fed(draw, operands[data], equation.invars[data].aval, place.loops)
        return transfer.drawn(equation, operands, index, draw, self.numbers)

    def _keep(
        self,
        equation: Equation,
        operands: list[Value],
        place: Place,
        package: str,
        function: str,
    ) -> Value | None:
        """The keep probability, or the limit that stands for it, if one can tell.

        Where JAX has derived a program from another, the names of arguments are gone.
        What is left is the one value with which the program compares what it draws.
        """
        index = keep_of(equation, package, function)
        if index is not None:
            return operands[index]
        structure = _programs.structure_of(equation)
        named = _programs.argument_names(equation)
        compares = known_of(package, function).draws == "mask"
        if named or not isinstance(structure, Call) or not compares:
            return None
        inside = Walk()
        inside.numbers = self.numbers
        inside._run(structure.program, operands, place)
        found = list(inside.limits)
        return Value(found[0]) if len(found) == 1 else None

    def _unknown(
        self,
        equation: Equation,
        operands: list[Value],
        outputs: list[Value],
        place: Place,
    ) -> list[Value]:
        """An equation that takes keys, or holds programs that do, and is not known."""
        index = self.numbers.of("draw", place.chain)
        self.draws[index] = Draw(
            function=equation.primitive.name,
            package=UNKNOWN,
            scope=place.scope,
            source=source_of(equation),
            drawn=NOTHING,
            steps=place.steps,
            key=joined(operands, index) if operands else Value(index),
            keep=None,
            rate=None,
            loops=place.loops,
            branches=dict(place.branches),
        )
        here = frozenset({index})
        return [dataclasses.replace(o, sites=o.sites | here) for o in outputs]

    def _loop(
        self,
        equation: Equation,
        structure: Loop,
        operands: list[Value],
        place: Place,
    ) -> list[Value]:
        """A loop: walks its body until no further draw reaches its state."""
        loop = place.chain
        steps = 1 if structure.length is None else structure.length
        inner = place._replace(loops=(*place.loops, loop), steps=place.steps * steps)
        slices = [
            dataclasses.replace(
                self._stepwise(operand, loop, index),
                spatial=tuple(axis - 1 for axis in operand.spatial),
                uniform=operand.uniform,
            )
            for index, operand in enumerate(operands[structure.read])
        ]
        stops: list[Value] = []

        def body(carry: list[Value]) -> list[Value]:
            if structure.condition is not None:
                tested = operands[structure.tested] + carry
                stops[:] = self._run(structure.condition, tested, inner)
            constants = operands[structure.constants]
            return self._run(structure.body, constants + carry + slices, inner)

        state, read = equation.invars[structure.carry], equation.invars[structure.read]
        if transfer.reads_data(state, read):
            self.timed.add(loop)
        carry, outputs = self._repeated(body, operands[structure.carry], loop)
        stacked = [
            dataclasses.replace(
                value,
                number=self.numbers.of("stacked", loop, index),
                spatial=tuple(axis + 1 for axis in value.spatial),
            )
            for index, value in enumerate(outputs[len(carry) :])
        ]
        for stop in stops:
            carry = [decided_by(stop, value) for value in carry]
        return carry + stacked

    def _repeated(
        self,
        body: Callable[[list[Value]], list[Value]],
        start: list[Value],
        loop: Chain,
    ) -> tuple[list[Value], list[Value]]:
        """Follows a loop until nothing changes; its state, and the body's outputs."""
        carry = [self._stepwise(v, loop, -1 - i, True) for i, v in enumerate(start)]
        outputs = body(carry)
        fixed = [o.number == c.number for o, c in zip(outputs, carry, strict=False)]
        carry = [s if f else c for s, c, f in zip(start, carry, fixed, strict=True)]
        for _ in range(_ROUNDS):
            outputs = body(carry)
            grown = [
                c if f else joined([c, o], c.number)
                for c, o, f in zip(carry, outputs, fixed, strict=False)
            ]
            if grown == carry:
                break
            carry = grown
        for value, is_fixed in zip(outputs, fixed, strict=False):
            for index in () if is_fixed else value.sites:
                draw = self.draws[index]
                if loop in draw.fed and loop in draw.key.varies & self.recurrent:
                    draw.faults.add("recurrent")
        return carry, outputs

    def _stepwise(
        self, value: Value, loop: Chain, index: int, carried: bool = False
    ) -> Value:
        """A value that is another in each step of a loop."""
        here = frozenset({loop})
        return dataclasses.replace(
            value,
            number=self.numbers.of("step", loop, index),
            varies=value.varies | here,
            carries=value.carries | here if carried else value.carries,
            form="",
        )

    def _choice(
        self, structure: Choice, operands: list[Value], place: Place
    ) -> list[Value]:
        """Walks all branches; a value is known only where they agree."""
        choice = place.chain
        if structure.by_platform:
            self.draws.by_platform.add(choice)
        results = [
            self._run(branch, operands[1:], place.in_branch(index))
            for index, branch in enumerate(structure.branches)
        ]
        outputs = []
        for index, values in enumerate(zip(*results, strict=True)):
            same = len({value.number for value in values}) == 1
            number = values[0].number if same else self.numbers.of("if", choice, index)
            outputs.append(decided_by(operands[0], joined(values, number)))
        return outputs
