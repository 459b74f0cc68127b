"""Randomness of recurrent cells: masks of a sequence, keys of a step.

A cell draws masks or keys when a sequence starts, outside the loop over time, and keeps
them in its carry. So no stream of keys advances within the loop, and the masks of an
example do not depend on its padding. Every array here has the batch in front, since
Flax's ``RNN`` selects the carry of each example at its last step.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop import _masks
from jaxdrop._checks import is_number, is_one, is_zero, require_key
from jaxdrop._dropout._carries import (
    START,
    KeyedCarry,
    MaskedCarry,
    OutputIs,
    require_state,
)
from jaxdrop._dropout._weights import is_inexact
from jaxdrop._dropout.dropout import dropout
from jaxdrop._dropout.zoneout import zoneout
from jaxdrop._sites import site
from jaxdrop._typing import Array, Key, Rate


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(eq=False)
class Drop:
    """Dropping by the mask of a sequence, as a pytree.

    It is passed to the products of a cell as an argument. If they closed over the mask
    instead, a transformation in between, such as ``jit``, would reuse the mask of the
    first call in all later ones. It is a dataclass, which tables of Linen can print.
    """

    mask: Array | None
    rate: Rate
    flag: bool | Array

    def __post_init__(self) -> None:
        self.rate = float(self.rate) if is_number(self.rate) else self.rate

    def __call__(self, x: Array, gate: int | None = None) -> Array:
        return apply_mask(x, self.mask, rate=self.rate, flag=self.flag, gate=gate)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Arrays are leaves; a number, a bool and None are static."""
        parts = (self.mask, self.rate, self.flag)
        leaves = tuple(part if isinstance(part, jax.Array) else None for part in parts)
        static = (None if isinstance(part, jax.Array) else part for part in parts)
        return leaves, tuple(static)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "Drop":
        """The inverse of :meth:`tree_flatten`."""
        drop = object.__new__(cls)
        parts = (a if b is None else b for a, b in zip(leaves, static, strict=True))
        drop.mask, drop.rate, drop.flag = parts
        return drop


def start_key(
    draw: Callable[[], Key],
    flag: bool | Array,
    rates: tuple[Rate, ...],
    /,
) -> Key | None:
    """The key of a sequence, which is drawn only where the masks depend on it.

    At rates of 0 and 1 they are the same for any key.

    Args:
      draw: draws the next key of a module.
      flag: whether the cell is in evaluation.
      rates: all rates of the cell.

    Returns:
      The key; None where nothing is dropped.
    """
    if flag is True or all(is_zero(rate) for rate in rates):
        return None
    if all(is_zero(rate) or is_one(rate) for rate in rates):
        return require_key(None, rate=1.0)
    return require_key(draw())


def draw_mask(
    key: Key | None,
    shape: tuple[int, ...],
    /,
    *,
    rate: Rate,
    flag: bool | Array,
    num_gates: int | None = None,
) -> Array | None:
    """Draws the mask of a sequence; None where it is known that nothing is dropped.

    Args:
      key: a PRNG key; None where nothing is drawn.
      shape: the shape of the array that is dropped at each step, ``(*batch,
        features)``.
      rate: the probability of dropping an entry.
      flag: whether the cell is in evaluation, where nothing is dropped.
      num_gates: how many masks, on an axis before the features; None for one mask
        without that axis.

    Returns:
      A boolean mask, or None.
    """
    if key is None or flag is True or is_zero(rate):
        return None
    if num_gates is not None:
        shape = (*shape[:-1], num_gates, shape[-1])
    keep = _masks.keep_probability(rate, deterministic=flag)
    return _sequence_mask(key, keep, shape=tuple(shape))


@site("jaxdrop.sequence_mask", draws="mask", acts_on="states", static=("shape",))
def _sequence_mask(key: Key, keep: Any, *, shape: tuple[int, ...]) -> Array:
    return _masks.draw(key, shape, keep=keep)


def apply_mask(
    x: Array,
    mask: Array | None,
    /,
    *,
    rate: Rate,
    flag: bool | Array,
    gate: int | None = None,
) -> Array:
    """Drops entries by the mask of the sequence, or by its mask for a gate."""
    if flag is True or is_zero(rate):
        return x
    if mask is None:
        raise ValueError(
            f"the carry has no masks: it was made in evaluation mode. {START}"
        )
    if gate is not None and mask.ndim > x.ndim:
        mask = mask[..., gate, :]
    keep = _masks.keep_probability(rate, deterministic=flag)
    return _masks.apply(x, mask | flag, keep=keep)


def start(carry: Any, key: Key | None, batch: tuple[int, ...], /) -> KeyedCarry:
    """Gives each example of a batch its own key for all steps."""
    if key is None:
        return KeyedCarry(carry, None, None)
    keys = jax.random.split(key, math.prod(batch))
    return KeyedCarry(carry, jnp.reshape(keys, batch), jnp.zeros(batch, jnp.int32))


def advance(carry: KeyedCarry, new: Any, /) -> KeyedCarry:
    """The carry for the next step, with ``new`` as the carry of the wrapped cell."""
    return KeyedCarry(new, carry.keys, None if carry.step is None else carry.step + 1)


def for_each_example(
    function: Callable[..., Array], carry: KeyedCarry, /, *arrays: Array
) -> Array:
    """Runs ``function(key, *arrays)`` on each example, with its key for this step."""
    keys, step = carry.keys, carry.step
    if keys is None or step is None:
        return function(None, *arrays)

    def with_key(key: Key, step: Array, *arrays: Array) -> Array:
        return function(jax.random.fold_in(key, step), *arrays)

    for _ in range(keys.ndim):
        with_key = jax.vmap(with_key)
    return with_key(keys, step, *arrays)


def drop_step(
    x: Array, carry: MaskedCarry | KeyedCarry, /, *, rate: Rate, flag: bool | Array
) -> Array:
    """Dropout by the mask of the sequence, or by fresh masks where there are keys."""
    if isinstance(carry, MaskedCarry):
        return apply_mask(x, carry.state, rate=rate, flag=flag)
    _require_keys(carry, (rate,), flag)
    drop = partial(dropout, rate=rate, deterministic=flag)
    return for_each_example(drop, carry, x)


def zone_step(
    carry: KeyedCarry,
    new: Any,
    output: Any,
    /,
    *,
    memory_rate: Rate,
    state_rate: Rate,
    flag: bool | Array,
    at: int | None,
    source: OutputIs,
) -> tuple[KeyedCarry, Any]:
    """Applies zoneout to the arrays of a new carry: units keep their old values.

    Args:
      carry: the carry before the step, and its keys.
      new: the carry of the wrapped cell after the step.
      output: the output of the wrapped cell.
      memory_rate: the rate of the other arrays: the memory of an LSTM.
      state_rate: the rate of the state.
      flag: whether to take the expectation.
      at: the index of the state; None to find it by comparison with the output.
      source: how the output is treated. ``"state"``: it is a copy of the state.
        ``"checked"``: it is expected to equal the state, and becomes NaN where it does
        not. ``"unknown"``: it must be the array of the state itself. ``"cell"``: it is
        returned as it is. A function: it is the function of the state that results.

    Returns:
      The next carry, and the output.
    """
    _require_keys(carry, (memory_rate, state_rate), flag)
    old_leaves, new_leaves = jax.tree.leaves(carry.cell), jax.tree.leaves(new)
    real = [i for i, leaf in enumerate(new_leaves) if is_inexact(leaf)]
    if at is None:  # an output that is an array of the carry shows which one it is
        at = next((i for i in real if new_leaves[i] is output), None)
    if at is None:
        at = require_state(new, None, is_known=False)
    mixed = list(new_leaves)
    for i in real:
        rate = state_rate if i == at else memory_rate
        zone = partial(_zone, index=i, rate=rate, flag=flag)
        mixed[i] = for_each_example(zone, carry, new_leaves[i], old_leaves[i])
    output = _zone_output(output, new_leaves[at], mixed[at], source)
    return advance(carry, jax.tree.unflatten(jax.tree.structure(new), mixed)), output


def _zone_output(output: Any, new: Array, mixed: Array, source: OutputIs) -> Any:
    """The output of a cell whose state is zoned: zoned as well if it is the state.

    Where only its values can tell whether it is, it is NaN if they differ.
    """
    if source == "cell":
        return output
    if callable(source):
        return source(mixed)
    if output is new:
        return mixed
    if source == "unknown" or not is_inexact(output) or output.shape != new.shape:
        raise ValueError(
            "the output of the cell is not the array of its state, so it is "
            'not known whether zoneout changes it. Pass output="state" if it is a copy '
            "of the state, output= with a function of the state, or "
            'output="cell" to keep the output as it is.'
        )
    zoned = mixed.astype(output.dtype)
    if source == "state":
        return zoned
    wide = max(
        map(_masks.wide_dtype, (output, new)), key=lambda d: np.dtype(d).itemsize
    )
    eps = max(float(_finfo(array).eps) for array in (output, new))
    distance = jnp.abs(output.astype(wide) - new.astype(wide))
    differs = distance > 4 * eps * (1 + jnp.abs(new.astype(wide)))
    return jnp.where(differs, jnp.asarray(jnp.nan, output.dtype), zoned)


def _finfo(array: Array) -> Any:
    return jnp.finfo(array.dtype)


def _zone(
    key: Key | None, new: Array, old: Array, *, index: int, rate: Rate, flag: Any
) -> Array:
    key = None if key is None else jax.random.fold_in(key, index)
    return zoneout(key, new, old, rate=rate, deterministic=flag)


def _require_keys(carry: KeyedCarry, rates: tuple[Rate, ...], flag: Any) -> None:
    drawing = flag is not True and not all(is_zero(rate) for rate in rates)
    if drawing and carry.keys is None:
        raise ValueError(
            f"the carry has no keys: it was made in evaluation mode. {START}"
        )
