"""The facts that an audit knows about a value in a traced program."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._programs import IDENTITIES, Equation, aval_of

Chain = tuple[int, ...]
"""A loop, by the equations that lead to it; the empty one is a call of the program."""

_FEW = 64
_NONE: frozenset[Any] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """The facts about a value.

    Attributes:
      number: equal for values that are known to be equal.
      sites: the draws that it depends on.
      noisy: those of them that add variance in training.
      direct: the draws whose output it is, in another form.
      varies: the loops from step to step of which it may change.
      carries: the loops on whose state of the step before it depends.
      form: ``"softmax"``, ``"selu"`` and the steps on the way to them.
      mask: the draw of which it is the mask, not applied yet.
      statistic: the draws on which it is a statistic over the batch.
      spatial: the spatial axes, where it is a feature map of a convolution.
      uniform: whether all its entries are equal.
    """

    number: int
    sites: frozenset[int] = _NONE
    noisy: frozenset[int] = _NONE
    direct: frozenset[int] = _NONE
    varies: frozenset[Chain] = _NONE
    carries: frozenset[Chain] = _NONE
    form: str = ""
    mask: int | None = None
    statistic: frozenset[int] = _NONE
    spatial: tuple[int, ...] = ()
    uniform: bool = False


class Numbers:
    """Gives equal numbers to equal computations, and computes small ones on demand."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, Any] = {}
        self._recipes: dict[int, tuple[Equation, tuple[int, ...], int]] = {}

    def of(self, *identity: Hashable) -> int:
        """The number of whatever is identified by hashable objects."""
        return self._numbers.setdefault(identity, len(self._numbers))

    def of_constant(self, constant: Any) -> int:
        """Of a concrete array: by its entries if they are few or keys, else by id."""
        if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
            words = np.asarray(jax.random.key_data(constant))
            impl = str(jax.random.key_impl(constant))
            return self.of("key", impl, words.shape, words.tobytes())
        if math.prod(constant.shape) > _FEW:
            return self.of("constant", id(constant))
        entries = np.asarray(constant)
        number = self.of(
            "constant", str(entries.dtype), entries.shape, entries.tobytes()
        )
        self._known[number] = entries
        return number

    def of_result(
        self, equation: Equation, operands: tuple[int, ...], index: int
    ) -> int:
        """Of an output of an equation."""
        try:
            params: Hashable = hash(frozenset(equation.params.items()))
        except TypeError:
            params = id(equation)
        aval = aval_of(equation.outvars[index])
        name = equation.primitive.name
        if name in IDENTITIES:
            return operands[index]
        if name == "random_wrap" and operands[0] in self._recipes:
            made, origin, _ = self._recipes[operands[0]]
            if made.primitive.name == "random_unwrap":
                return origin[0]  # the key itself
        number = self.of(name, params, operands, index, str(aval))
        if getattr(aval, "size", _FEW + 1) <= _FEW:
            self._recipes.setdefault(number, (equation, operands, index))
        return number

    def evaluate(self, number: int) -> Any:
        """The entries of a value, or None where they are not known in advance."""
        if number not in self._known and number in self._recipes:
            equation, operands, index = self._recipes[number]
            inputs = [self.evaluate(operand) for operand in operands]
            self._known[number] = _computed(equation, inputs, index)
        return self._known.get(number)


def identifies(array: jax.Array | np.ndarray, /) -> bool:
    """Whether an input is a key, or a scalar such as a count or a rate."""
    is_typed = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return is_typed or array.ndim == 0 or array.dtype == jnp.uint32


def joined(values: Sequence[Value], number: int, /) -> Value:
    """The facts left of several values of which one is taken, or all are mixed."""
    first, rest = values[0], values[1:]

    def agreed(pick: Callable[[Value], Any], otherwise: Any) -> Any:
        same = all(pick(value) == pick(first) for value in rest)
        return pick(first) if same else otherwise

    return Value(
        number=number,
        sites=union(value.sites for value in values),
        noisy=union(value.noisy for value in values),
        direct=frozenset.intersection(*(value.direct for value in values)),
        varies=union(value.varies for value in values),
        carries=union(value.carries for value in values),
        form=agreed(lambda value: value.form, ""),
        mask=agreed(lambda value: value.mask, None),
        spatial=agreed(lambda value: value.spatial, ()),
        uniform=all(value.uniform for value in values),
    )


def decided_by(choice: Value, value: Value, /) -> Value:
    """A value that is what it is because of a choice, or of a test in a loop."""
    return dataclasses.replace(
        value,
        sites=value.sites | choice.sites,
        noisy=value.noisy | choice.noisy,
        varies=value.varies | choice.varies,
        carries=union([value.carries, choice.carries]),
    )


def union(sets: Iterable[frozenset[Any]], /) -> frozenset[Any]:
    """The union of any number of sets."""
    return _NONE.union(*sets)


def moved_axes(equation: Equation, axes: tuple[int, ...], /) -> tuple[int, ...]:
    """Where axes of the first operand are in the output; none if one of them is not."""
    name, params = equation.primitive.name, equation.params
    old = aval_of(equation.invars[0]).shape
    new = aval_of(equation.outvars[0]).shape
    if name == "transpose":
        order = list(params.get("permutation", ()))
        return tuple(order.index(axis) for axis in axes if axis in order)
    if name == "broadcast_in_dim":
        return tuple(params.get("broadcast_dimensions", ())[axis] for axis in axes)
    if name in ("reshape", "squeeze"):
        places = [_after_reshape(axis, old, new) for axis in axes]
        return () if None in places else tuple(p for p in places if p is not None)
    return axes if len(old) == len(new) else ()


def _after_reshape(axis: int, old: tuple[int, ...], new: tuple[int, ...]) -> int | None:
    before = math.prod(old[:axis])
    for place, size in enumerate(new):
        if size == old[axis] and math.prod(new[:place]) == before:
            return place
    return None


def _computed(equation: Equation, inputs: list[Any], index: int) -> Any:
    if any(entries is None for entries in inputs):
        return None
    try:
        with jax.ensure_compile_time_eval():
            bind: Callable[..., Any] = equation.primitive.bind
            outputs = bind(*inputs, **equation.params)
    except Exception:  # a primitive may fail in any way outside its own context
        return None
    chosen = outputs[index] if equation.primitive.multiple_results else outputs
    return np.asarray(chosen)
