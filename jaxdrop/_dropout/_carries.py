"""Carries of recurrent cells: where the state is, and how a sequence starts."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._checks import is_zero
from jaxdrop._dropout._weights import is_inexact
from jaxdrop._errors import shown
from jaxdrop._typing import Array, Key, Rate

StateAt = Any
"""The place of the state in a carry: a key, a tuple of keys, a function; or None."""

OutputIs = str | Callable[[Array], Array] | None
"""What the output of a zoned cell is: a word, or a function of the state."""


START = (
    "To start from a given state, such as that of an encoder, call initialize_carry in "
    "training mode with carry=state as a keyword, and pass what it returns, for "
    "example as initial_carry= of RNN."
)


class MaskedCarry(NamedTuple):
    """The carry of a cell, and the masks of the sequence that it processes.

    Attributes:
      cell: the carry of the wrapped cell.
      inputs: the mask of the inputs, ``(*batch, features)``, or with an axis of gates
        before the features; None where nothing is dropped.
      state: the mask of the state, likewise.
    """

    cell: Any
    inputs: Array | None
    state: Array | None


class KeyedCarry(NamedTuple):
    """The carry of a cell, and the keys of its next steps.

    Attributes:
      cell: the carry of the wrapped cell.
      keys: a key for each example, ``(*batch,)``; None where nothing is drawn.
      step: how many steps each example has taken, int32, ``(*batch,)``.
    """

    cell: Any
    keys: Key | None
    step: Array | None


def innermost(carry: Any, /) -> Any:
    """The carry of the innermost cell, without the wrappers of this library."""
    while isinstance(carry, MaskedCarry | KeyedCarry):
        carry = carry.cell
    return carry


def check_cell(cell: Any, /) -> None:
    """Raises ``TypeError`` unless a cell is an object that starts sequences."""
    if isinstance(cell, type) or not hasattr(cell, "initialize_carry"):
        given = cell if isinstance(cell, type) else type(cell)
        described = "the class" if given is cell else "an object of type"
        raise TypeError(
            "cell must be a recurrent cell of the same framework, such as "
            f"LSTMCell(...), with initialize_carry, got {described} {given.__name__}."
        )


def check_output(output: Any, /) -> None:
    """Raises ``ValueError`` unless it says what the output of a zoned cell is."""
    is_word = isinstance(output, str) and output in ("state", "cell")
    if output is not None and not callable(output) and not is_word:
        raise ValueError(
            'output must be "state", "cell" or a function of the state, got '
            f"{shown(output)}."
        )


def comes_from_flax(function: Callable[..., Any], /) -> bool:
    """Whether a method is defined by Flax or by this library, transformed or not.

    A transformed method, such as that of ``nn.remat(nn.GRUCell)``, has the original
    function as ``__wrapped__``.
    """
    module: str = inspect.unwrap(function).__module__
    return module.partition(".")[0] in ("flax", "jaxdrop")


def calls_another(function: Callable[..., Any], /) -> bool:
    """Whether a method calls the ``__call__`` of a class, as by ``super()``."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and "__call__" in code.co_names


def find_state(carry: Any, where: StateAt, /, *, is_known: bool) -> int | None:
    """The index of the hidden state among the leaves of a carry.

    Args:
      carry: the carry of a cell, perhaps inside those of this library.
      where: given by the caller: a key or a tuple of keys, or a function that takes
        the carry and returns the state; or None.
      is_known: whether the carry is that of a cell of Flax, whose state is the last
        floating point array.

    Returns:
      The index; None where it is neither given nor known.
    """
    leaves, structure = jax.tree.flatten(innermost(carry))
    real = [i for i, leaf in enumerate(leaves) if is_inexact(leaf)]
    if where is not None:
        at = _follow(jax.tree.unflatten(structure, range(len(leaves))), where)
        if isinstance(at, bool) or at not in real:
            raise ValueError(
                f"state={where!r} does not lead to a floating point array of the "
                f"carry, {_describe(carry)}."
            )
        return int(at)
    return real[-1] if real and (is_known or len(real) == 1) else None


def _follow(tree: Any, where: Any) -> Any:
    if callable(where):
        return where(tree)
    for key in where if isinstance(where, tuple) else (where,):
        try:
            tree = tree[key]
        except (IndexError, KeyError, TypeError):
            tree = getattr(tree, key, None) if isinstance(key, str) else None
    return tree


def require_state(carry: Any, where: StateAt, /, *, is_known: bool) -> int:
    """:func:`find_state`, or an error that says which argument to pass."""
    at = find_state(carry, where, is_known=is_known)
    if at is None:
        raise ValueError(
            "it is not known which array of the carry is the hidden state, "
            f"{_describe(carry)}: pass state=, for example state=0 for a carry (state, "
            "memory), or a function that takes the carry and returns the state."
        )
    return at


def check_assumed(carry: Any, output: Any, at: int | None, /) -> None:
    """Raises if the output of a cell is an array of its carry, but not the state.

    A subclass of a cell of Flax may inherit ``initialize_carry`` and use the arrays of
    its carry in another order.

    Args:
      carry: the carry after a step.
      output: the output of that step.
      at: the index of the state, which the caller has not given.
    """
    leaves = jax.tree.leaves(innermost(carry))
    same = [i for i, leaf in enumerate(leaves) if leaf is output]
    if at is None or not same or at in same:
        return
    raise ValueError(
        f"the cell returns array {same[0]} of its carry {_describe(carry)} as its "
        f"output, and array {at}, where cells of Flax have it, would be taken for the "
        f"hidden state. Pass state={same[0]}, or state={at} if that is right."
    )


def checked_by_value(carry: Any, output: Any, at: int, /) -> Any:
    """:func:`check_assumed` for an output that is a copy, as of a transformed cell.

    Args:
      carry: the carry after a step.
      output: the output of that step.
      at: the index of the state, which the caller has not given.

    Returns:
      The output; NaN where it equals another array of the carry and not the state.
    """
    leaves = jax.tree.leaves(innermost(carry))
    if not is_inexact(output) or leaves[at].shape != output.shape:
        return output
    like = [is_inexact(leaf) and leaf.shape == output.shape for leaf in leaves]
    equal = [
        jnp.all(leaf.astype(output.dtype) == output) if is_like else jnp.bool_(False)
        for leaf, is_like in zip(leaves, like, strict=True)
    ]
    wrong = jnp.any(jnp.stack(equal)) & ~equal[at]
    return jnp.where(wrong, jnp.asarray(jnp.nan, output.dtype), output)


def _describe(carry: Any) -> str:
    def describe(leaf: Any) -> str:
        return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"

    return str(jax.tree.map(describe, innermost(carry)))


def source_of_output(
    given: OutputIs, /, *, is_known: bool, has_own_step: bool
) -> OutputIs:
    """What the output of a zoned cell is, given or inferred from its class.

    Args:
      given: the word or function that the caller has given, or None.
      is_known: whether the carry is that of a cell of Flax.
      has_own_step: whether the step is one that Flax does not define, so that the
        output is only assumed to be the state, and compared with it.
    """
    if given is not None:
        return given
    if not is_known:
        return "unknown"
    return "checked" if has_own_step else "state"


def state_of(carry: Any, at: int, /) -> Array:
    """The array of a carry at an index from :func:`find_state`."""
    state: Array = jax.tree.leaves(innermost(carry))[at]
    return state


def drop_state(carry: Any, at: int, drop: Callable[[Array], Array], /) -> Any:
    """A carry to whose state ``drop`` has been applied."""
    leaves, structure = jax.tree.flatten(carry)  # the innermost carry comes first
    leaves[at] = drop(leaves[at])
    return jax.tree.unflatten(structure, leaves)


def check_start(carry: Any, batch: tuple[int, ...], /) -> Any:
    """Returns a carry to start from, without masks and keys, if its batch fits."""
    carry = innermost(carry)
    for leaf in jax.tree.leaves(carry):
        if is_inexact(leaf) and leaf.shape[: len(batch)] != batch:
            raise ValueError(
                f"carry must have the batch {batch} of input_shape in front, got "
                f"{_describe(carry)}."
            )
    return carry


def is_plain(
    carry: Any,
    kinds: tuple[type, ...],
    /,
    *,
    rates: tuple[Rate, ...],
    flag: bool | Array,
) -> bool:
    """Whether a carry is that of the wrapped cell, without masks and keys.

    Such a carry is enough where nothing is drawn.

    Args:
      carry: the carry of a step.
      kinds: the types of the carries that the module makes.
      rates: the rates of the module.
      flag: the mode of the module.

    Returns:
      False for a carry of ``kinds``.

    Raises:
      ValueError: if the step draws, and the carry is of another type.
    """
    if isinstance(carry, kinds):
        return False
    if flag is True or all(is_zero(rate) for rate in rates):
        return True
    raise ValueError(
        "the carry has no masks or keys, which training needs: it is of type "
        f"{type(carry).__name__}. {START}"
    )
