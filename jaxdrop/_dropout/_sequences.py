"""Randomness of recurrent cells: masks of a sequence, keys of a step.

A cell draws when a sequence starts, outside the loop over time, and carries what it
drew along. So nothing advances a stream within the loop, and what an example gets does
not depend on its padding. Every array here has the batch in front, since Flax's ``RNN``
picks the carry of each example at its last step.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import is_zero
from jaxdrop._dropout._weights import is_inexact
from jaxdrop._dropout.dropout import dropout
from jaxdrop._dropout.zoneout import zoneout
from jaxdrop._sites import site
from jaxdrop._typing import Array, Key, Rate


class MaskedCarry(NamedTuple):
    """The carry of a cell, and the masks of the sequence that it is in.

    Attributes:
      cell: the carry of the cell within.
      inputs: the mask of the inputs, ``(*batch, features)``, or with an axis of gates
        before the features; None where nothing is dropped.
      state: the mask of the state, likewise.
    """

    cell: Any
    inputs: Array | None
    state: Array | None


class KeyedCarry(NamedTuple):
    """The carry of a cell, and the keys of the steps to come.

    Attributes:
      cell: the carry of the cell within.
      keys: a key for each example, ``(*batch,)``; None where nothing is drawn.
      step: how many steps each example has taken, int32, ``(*batch,)``.
    """

    cell: Any
    keys: Key | None
    step: Array | None


def state_of(carry: Any, /) -> Array:
    """The hidden state of a cell: the last floating point array of its carry."""
    leaves = jax.tree.leaves(carry)
    state: Array = leaves[_last_inexact(leaves)]
    return state


def drop_last(carry: Any, drop: Callable[[Array], Array], /) -> Any:
    """A carry whose state is dropped: what a cell sees that is not known better."""
    leaves = jax.tree.leaves(carry)
    at = _last_inexact(leaves)
    leaves[at] = drop(leaves[at])
    return jax.tree.unflatten(jax.tree.structure(carry), leaves)


def _last_inexact(leaves: list[Any]) -> int:
    return max(i for i, leaf in enumerate(leaves) if is_inexact(leaf))


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
      shape: of what is dropped at each step, ``(*batch, features)``.
      rate: the drop probability.
      flag: whether nothing is dropped after all.
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


@site("jaxdrop.sequence_mask", static=("shape",))
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
    """Drops what the sequence drops; of masks for gates, what ``gate`` does."""
    if flag is True or is_zero(rate):
        return x
    if mask is None:
        raise ValueError(
            "The carry holds no masks: it was made in evaluation mode. Call "
            "initialize_carry in training mode."
        )
    if gate is not None and mask.ndim > x.ndim:
        mask = mask[..., gate, :]
    keep = _masks.keep_probability(rate, deterministic=flag)
    return _masks.apply(x, mask | flag, keep=keep)


def start(carry: Any, key: Key | None, batch: tuple[int, ...], /) -> KeyedCarry:
    """Gives each example of a batch a key of its own for the steps to come."""
    if key is None:
        return KeyedCarry(carry, None, None)
    keys = jax.random.split(key, math.prod(batch))
    return KeyedCarry(carry, jnp.reshape(keys, batch), jnp.zeros(batch, jnp.int32))


def advance(carry: KeyedCarry, new: Any, /) -> KeyedCarry:
    """The carry of the next step, with ``new`` as the carry of the cell within."""
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
) -> tuple[KeyedCarry, Any]:
    """Lets the arrays of a new carry keep part of the old one.

    Args:
      carry: the carry before the step, and its keys.
      new: the carry of the cell after it.
      output: of the cell. Where it is the new state, as in all cells of Flax, it
        becomes the state that results.
      memory_rate: the rate of the arrays before the state: the memory of an LSTM.
      state_rate: the rate of the state, the last floating point array of the carry.
      flag: whether to take the expectation.

    Returns:
      The next carry, and the output.
    """
    _require_keys(carry, (memory_rate, state_rate), flag)
    old_leaves, new_leaves = jax.tree.leaves(carry.cell), jax.tree.leaves(new)
    real = [i for i, leaf in enumerate(new_leaves) if is_inexact(leaf)]
    mixed = list(new_leaves)
    for i in real:
        rate = state_rate if i == real[-1] else memory_rate
        zone = partial(_zone, index=i, rate=rate, flag=flag)
        mixed[i] = for_each_example(zone, carry, new_leaves[i], old_leaves[i])
    if output is new_leaves[real[-1]]:
        output = mixed[real[-1]]
    return advance(carry, jax.tree.unflatten(jax.tree.structure(new), mixed)), output


def _zone(
    key: Key | None, new: Array, old: Array, *, index: int, rate: Rate, flag: Any
) -> Array:
    key = None if key is None else jax.random.fold_in(key, index)
    return zoneout(key, new, old, rate=rate, deterministic=flag)


def _require_keys(carry: KeyedCarry, rates: tuple[Rate, ...], flag: Any) -> None:
    drawing = flag is not True and not all(is_zero(rate) for rate in rates)
    if drawing and carry.keys is None:
        raise ValueError(
            "The carry holds no keys: it was made in evaluation mode. Call "
            "initialize_carry in training mode."
        )
