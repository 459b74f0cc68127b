"""One tile of attention weights: its logits, its part of the mask, and its sums.

A tile belongs to one group: one key head of one example. Positions are absolute, so
that a tile draws its part of the mask of all weights by itself, for any block size.
"""

import functools
import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop import _masks
from jaxdrop._attention._plan import Plan
from jaxdrop._typing import Array
from jaxdrop.prng import _threefry
from jaxdrop.prng._bits import CounterHash

MASKED = -0.7 * float(np.finfo(np.float32).max)
"""The logit of a masked key, the same as in ``jax.nn``.

It is finite, so that a query whose keys are all masked attends to all of them equally.
"""


class Tile(NamedTuple):
    """The arrays of a tile, and its position among all weights of the call.

    ``heads`` are the query heads that share the key head of the tile. The changes of
    arrays, for differentiation, begin with ``d_``; those of keys and values have their
    axes swapped, so that their gradients are products in a layout that is twice as fast
    on a CPU. Arrays that a call does not have are None.

    Attributes:
      query: ``(heads, queries, features)``, multiplied by the scale of the logits.
      key: ``(keys, features)``.
      value: ``(keys, features)``.
      first_row: the number of the first row among all rows of the mask.
      first_query: the position of the first query in its sequence.
      first_key: the position of the first key in its sequence.
      end_key: the position after the last key of the strip; later ones are padding.
      bias: broadcasts to ``(heads, queries, keys)``.
      mask: likewise, boolean.
      lengths: the number of keys of the example.
      top: the largest logit of each query, ``(heads, queries)``.
      d_query: ``(heads, queries, features)``.
      d_key: ``(features, keys)``.
      d_value: ``(features, keys)``.
      d_bias: as ``bias``.
    """

    query: Array
    key: Array
    value: Array
    first_row: Array
    first_query: Array
    first_key: Array
    end_key: Array
    bias: Array | None = None
    mask: Array | None = None
    lengths: Array | None = None
    top: Array | None = None
    d_query: Array | None = None
    d_key: Array | None = None
    d_value: Array | None = None
    d_bias: Array | None = None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["words", "keep"],
    meta_fields=["hash"],
)
@dataclass(frozen=True)
class Drop:
    """The key of the dropout mask, and the probability of keeping.

    The key is stored as its words, since JAX 0.10.0 cannot differentiate ``lax.cond``
    if only one of the branches saves a key.
    """

    words: Array
    keep: Array
    hash: CounterHash


class Sums(NamedTuple):
    """Sums over keys, for each query.

    Attributes:
      values: the sum of values times surviving weights, ``(…, query heads, queries,
        features)``; neither normalized nor divided by the probability of keeping.
      weights: the sum of all weights, ``exp(logit - top)``, dropped ones included,
        ``(…, query heads, queries)``.
      top: the largest logit, likewise.
    """

    values: Array
    weights: Array
    top: Array


class Changes(NamedTuple):
    """The changes of :class:`Sums`.

    The largest logit is treated as a constant: it cancels in the output.
    """

    values: Array
    weights: Array


def sums(plan: Plan, drop: Drop, inside: bool, tile: Tile) -> Sums:
    """The sums over the keys of a tile.

    Args:
      plan: the plan of the call.
      drop: the key of the mask, and the probability of keeping.
      inside: whether all keys of the tile are known to exist. Static.
      tile: the tile.
    """
    logits = _logits(plan, inside, tile)
    # A bias may be minus infinity for all keys of this tile, but not for those of other
    # tiles; the largest logit has to be finite all the same.
    top = jnp.maximum(logits.max(-1), float(np.finfo(logits.dtype).min))
    weights = jnp.exp(logits - top[..., None])
    kept = jnp.where(_survives(plan, drop, tile), weights, 0)
    return Sums(_product(kept, tile.value, 0), weights.sum(-1), top)


def merge(parts: Sums) -> Sums:
    """Adds up parts along the first axis, relative to the largest logit of all."""
    if len(parts.top) == 1:
        return Sums(parts.values[0], parts.weights[0], parts.top[0])
    top = parts.top.max(0)
    relative = jnp.exp(parts.top - top[None])
    return Sums(
        (parts.values * relative[..., None]).sum(0),
        (parts.weights * relative).sum(0),
        top,
    )


def changes(plan: Plan, drop: Drop, inside: bool, tile: Tile) -> Changes:
    """The changes of the sums of a tile; linear in those of its arrays.

    It is checkpointed: for the backward pass, which is its transpose, weights and mask
    are computed again and not kept.

    Args:
      plan: the plan of the call.
      drop: the key of the mask, and the probability of keeping.
      inside: whether all keys of the tile are known to exist. Static.
      tile: the tile, with ``top`` and any of its changes.
    """

    @partial(jax.checkpoint, prevent_cse=False)
    def changed(drop: Drop, tile: Tile) -> Changes:
        logits = _logits(plan, inside, tile)
        assert tile.top is not None
        weights = jnp.exp(logits - tile.top[..., None])
        survives = _survives(plan, drop, tile)
        values, total = jnp.zeros_like(tile.query), jnp.zeros_like(tile.top)
        change = _change_of_logits(tile)
        if change is not None:
            attended = _attended(plan, tile)
            if attended is not None:
                change = jnp.where(attended, change, 0)
            change = weights * change
            kept = jnp.where(survives, change, 0)
            values = values + _product(kept, tile.value, 0)
            total = change.sum(-1)
        if tile.d_value is not None:
            kept = jnp.where(survives, weights, 0)
            values = values + _product(kept, tile.d_value, 1)
        return Changes(values, total)

    return changed(drop, tile)


def over_unattended(
    plan: Plan, drop: Drop, value: str, inside: bool, tile: Tile
) -> Changes:
    """Sums over the keys that a query may not attend to, with weights of 1.

    Args:
      plan: the plan of the call.
      drop: the key of the mask, and the probability of keeping.
      value: the operand to sum, ``"value"`` or ``"d_value"``; linear in it. Static.
      inside: whether all keys of the tile are known to exist. Static.
      tile: the tile.
    """

    @partial(jax.checkpoint, prevent_cse=False)
    def summed(drop: Drop, tile: Tile) -> Changes:
        attended = _attended(plan, tile)
        free = jnp.ones((), bool) if attended is None else jnp.logical_not(attended)
        if not inside:
            free &= _exists(tile)
        shape = (*tile.query.shape[:2], tile.key.shape[0])
        weights = jnp.broadcast_to(free, shape).astype(tile.query.dtype)
        kept = jnp.where(_survives(plan, drop, tile), weights, 0)
        axis = 0 if value == "value" else 1
        values = _product(kept, getattr(tile, value), axis)
        return Changes(values, weights.sum(-1))

    return summed(drop, tile)


def add(parts: Changes) -> Changes:
    """Adds up parts along the first axis."""
    return Changes(parts.values.sum(0), parts.weights.sum(0))


def _change_of_logits(tile: Tile) -> Array | None:
    """The changes of the logits by those of queries, keys and bias; None without."""
    terms = []
    if tile.d_query is not None:
        terms.append(_product(tile.d_query, tile.key, 1))
    if tile.d_key is not None:
        terms.append(_product(tile.query, tile.d_key, 0))
    if tile.d_bias is not None:
        terms.append(tile.d_bias)
    return sum(terms[1:], terms[0]) if terms else None


def _logits(plan: Plan, inside: bool, tile: Tile) -> Array:
    """The logits: finite where masked, minus infinity for keys that do not exist."""
    logits = _product(tile.query, tile.key, 1)
    if tile.bias is not None:
        logits = logits + tile.bias.astype(logits.dtype)
    attended = _attended(plan, tile)
    if attended is not None:
        logits = jnp.where(attended, logits, MASKED)
    if not inside:
        logits = jnp.where(_exists(tile), logits, -jnp.inf)
    return logits


def _attended(plan: Plan, tile: Tile) -> Array | None:
    """Which keys a query may attend to, or None if it may attend to all."""
    query, key = _positions(tile)
    conditions = []
    if tile.mask is not None:
        conditions.append(tile.mask)
    if tile.lengths is not None:
        conditions.append(key < tile.lengths)
    if plan.is_causal:
        conditions.append(key <= query)
    if plan.window is not None:
        left, right = (np.uint32(reach) for reach in plan.window)
        conditions.append((query <= key + left) & (key <= query + right))
    return functools.reduce(jnp.logical_and, conditions) if conditions else None


def _exists(tile: Tile) -> Array:
    """Which keys of a tile are in its strip, and not padding."""
    return _positions(tile)[1] < tile.end_key


def _positions(tile: Tile) -> tuple[Array, Array]:
    """The positions of queries and keys in their sequences."""
    query, key = _iota(tile.query.shape[1], 1), _iota(tile.key.shape[0], 2)
    return query + tile.first_query, key + tile.first_key


def _survives(plan: Plan, drop: Drop, tile: Tile) -> Array:
    """The part of ``masks.bernoulli(key, plan.drawn)`` that belongs to a tile.

    Positions are computed inside ``drawing``: passed from outside they would be an
    array in memory, four times the size of the mask.
    """

    def drawing(words: Array, keep: Array) -> Array:
        bits = drop.hash(words, *counters_of(plan, tile))
        return _masks.survives(bits, keep=keep)

    mask = _masks.hold(drawing, drop.words, drop.keep, platform=plan.platform)
    return lax.optimization_barrier(mask) if plan.stores_mask else mask


def counters_of(plan: Plan, tile: Tile) -> tuple[Array, Array]:
    """The row-major position of each weight in the mask, as two uint32 words.

    Only an ``iota`` is added to the position of the first key of each row. XLA would
    move any other sum that is the same for all tiles out of the loop, and reading it
    from memory halves the speed of the hash on a CPU.
    """
    _, heads, queries, keys = plan.drawn
    row = tile.first_row
    if heads > 1:
        row = row + np.uint32(queries) * _iota(plan.group, 0)
    if queries > 1:
        row = row + _iota(tile.query.shape[1], 1)
    row = _masks.at_rank(row, 3)
    if keys == 1:
        return jnp.zeros((), jnp.uint32), row
    key = _iota(tile.key.shape[0], 2)
    symbolic = jax.export.is_symbolic_dim(plan.drawn[0])
    if not symbolic and math.prod(plan.drawn) <= 1 << 32:
        low = row * np.uint32(keys) + tile.first_key + key
        return jnp.zeros((), jnp.uint32), low
    high, low = _threefry.add_product(jnp.zeros_like(row), tile.first_key, row, keys)
    return high + (low + key < key).astype(jnp.uint32), low + key


def _iota(size: int, axis: int) -> Array:
    """``0, 1, …`` along one of three axes."""
    shape = tuple(size if i == axis else 1 for i in range(3))
    return lax.broadcasted_iota(jnp.uint32, shape, axis)


def _product(left: Array, right: Array, axis: int) -> Array:
    """The product over the last axis of the left array and one of a matrix.

    Heads and queries are merged into one axis, since compilers choose better layouts
    for the product of two matrices.
    """
    flat = left.reshape(-1, left.shape[-1])
    product = lax.dot_general(flat, right, (((1,), (axis,)), ((), ())))
    return product.reshape(*left.shape[:-1], product.shape[-1])
