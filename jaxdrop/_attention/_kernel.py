"""One block of attention in a Pallas kernel: the output, and both ways back.

A program of the grid holds one block of queries (or of keys) and loops over the others.
What a tile of weights is, and which of them survive, is decided in :mod:`_tiles`, as
everywhere else. Arrays are (heads, length, features), each block of them padded.

References:
  Dao, `FlashAttention-2: faster attention with better parallelism and work partitioning
  <https://arxiv.org/abs/2307.08691>`_, ICLR 2024.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from jaxdrop import _masks
from jaxdrop._attention import _tiles
from jaxdrop._attention._plan import Plan
from jaxdrop._attention._tiles import Operands
from jaxdrop._typing import Array
from jaxdrop.prng import _threefry


class Scalars(NamedTuple):
    """What a program of the grid knows of its call.

    Attributes:
      words: the two words of the key.
      keep: the probability of keeping.
      length: the number of keys of the example, uint32.
      first_row: where its head begins among all rows of drawn weights, uint32.
    """

    words: tuple[Array, Array]
    keep: Array
    length: Array
    first_row: Array


class Tile(NamedTuple):
    """A tile of weights, (queries, keys) each.

    Attributes:
      weights: after the softmax.
      survives: which of them are not dropped.
      attended: which of them depend on the logits.
    """

    weights: Array
    survives: Array
    attended: Array


def forward(plan: Plan, words: Any, keep: Any, lengths: Any, *references: Any) -> None:
    """Writes the output of a block of queries, its sum of weights and its top logit."""
    scalars = _scalars(plan, words, keep, lengths)
    query_at, key_at, value_at, output_at, weights_at, top_at = references
    query = query_at[...]
    first_query = _first(pl.program_id(2), plan.block[0])

    def step(index: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        values, weights, top = sums
        key, value = (_block(ref, index, plan.block[1]) for ref in (key_at, value_at))
        operands = _operands(plan, scalars, query, key, first_query, index)
        logits = _logits(plan, operands)
        higher = jnp.maximum(top, logits.max(-1))
        relative, own = jnp.exp(top - higher), jnp.exp(logits - higher[:, None])
        kept = jnp.where(_survives(plan, scalars, operands), own, 0)
        values = values * relative[:, None] + _product(kept, value, (1, 0))
        return values, weights * relative + own.sum(-1), higher

    nothing = jnp.zeros(query.shape[:1], query.dtype)
    lowest = jnp.full_like(nothing, float(np.finfo(np.float32).min))
    last = _keys_seen(plan, scalars, first_query)
    start = (jnp.zeros_like(query), nothing, lowest)
    values, weights, top = lax.fori_loop(0, last, step, start)
    output_at[...] = values / (weights * _divisor(scalars))[:, None]
    weights_at[...] = weights
    top_at[...] = top


def back_to_queries(
    plan: Plan, words: Any, keep: Any, lengths: Any, *references: Any
) -> None:
    """Writes the gradient of a block of queries."""
    scalars = _scalars(plan, words, keep, lengths)
    query_at, key_at, value_at, weights_at, top_at, change_at, share_at = references[:7]
    query, change = query_at[...], change_at[...]
    softmax, share = (weights_at[...], top_at[...]), share_at[...]
    first_query = _first(pl.program_id(2), plan.block[0])

    def step(index: Array, gradient: Array) -> Array:
        key, value = (_block(ref, index, plan.block[1]) for ref in (key_at, value_at))
        operands = _operands(plan, scalars, query, key, first_query, index)
        tile = _tile(plan, scalars, operands, *softmax)
        of_logits = _change_of_logits(scalars, tile, change, value, share)
        return gradient + _product(of_logits, key, (1, 0))

    last = _keys_seen(plan, scalars, first_query)
    references[7][...] = lax.fori_loop(0, last, step, jnp.zeros_like(query))


def back_to_keys(
    plan: Plan, words: Any, keep: Any, lengths: Any, *references: Any
) -> None:
    """Writes what a head adds to the gradients of a block of keys and their values."""
    scalars = _scalars(plan, words, keep, lengths)
    query_at, key_at, value_at, weights_at, top_at, change_at, share_at = references[:7]
    key, value = (ref[...].astype(jnp.float32) for ref in (key_at, value_at))
    block, size = pl.program_id(2), plan.block[0]

    def step(index: Array, gradients: tuple[Array, Array]) -> tuple[Array, Array]:
        query, weights, top, change, share = (
            _block(ref, index, size)
            for ref in (query_at, weights_at, top_at, change_at, share_at)
        )
        operands = _operands(plan, scalars, query, key, _first(index, size), block)
        tile = _tile(plan, scalars, operands, weights, top)
        of_logits = _change_of_logits(scalars, tile, change, value, share)
        kept = jnp.where(tile.survives, tile.weights, 0) / _divisor(scalars)
        return (
            gradients[0] + _product(of_logits, query, (0, 0)),
            gradients[1] + _product(kept, change, (0, 0)),
        )

    first, last = _blocks_seeing(plan, scalars, block), query_at.shape[0] // size
    start = jnp.zeros_like(key), jnp.zeros_like(value)
    gradients = lax.fori_loop(first, last, step, start)
    references[7][...], references[8][...] = gradients


def _scalars(plan: Plan, words: Any, keep: Any, lengths: Any) -> Scalars:
    batch, heads, queries, _ = plan.drawn
    row = jnp.zeros((), jnp.uint32)
    if batch > 1:
        row = row + _first(pl.program_id(0), heads)
    if heads > 1:
        row = row + _first(pl.program_id(1), 1)
    return Scalars((words[0], words[1]), keep[0], lengths[0], row * np.uint32(queries))


def _operands(
    plan: Plan,
    scalars: Scalars,
    query: Array,
    key: Array,
    first_query: Array,
    block: Array,
) -> Operands:
    """A tile as :mod:`_tiles` takes it, of one head."""
    shared = plan.drawn[2] == 1
    return {
        "query": query[None],
        "key": key,
        "lengths": scalars.length,
        "first_row": scalars.first_row + (np.uint32(0) if shared else first_query),
        "first_query": first_query,
        "first_key": _first(block, plan.block[1]),
        "end_key": jnp.asarray(plan.keys, jnp.uint32),
    }


def _logits(plan: Plan, operands: Operands) -> Array:
    inside = plan.keys % plan.block[1] == 0
    return _tiles.logits_of(plan, inside, operands)[0]


def _survives(plan: Plan, scalars: Scalars, operands: Operands) -> Array:
    high, low = _tiles.counters_of(plan, operands)
    first, second = _threefry.threefry2x32(scalars.words, high, low)
    survives = _masks.survives(first ^ second, keep=scalars.keep)
    shape = (operands["query"].shape[1], operands["key"].shape[0])
    return jnp.broadcast_to(survives[0], shape)


def _tile(
    plan: Plan, scalars: Scalars, operands: Operands, weights: Array, top: Array
) -> Tile:
    relative = jnp.exp(_logits(plan, operands) - top[:, None])
    attended = _tiles.attended_in(plan, operands)
    assert attended is not None  # there are lengths
    survives = _survives(plan, scalars, operands)
    return Tile(relative / weights[:, None], survives, attended[0])


def _change_of_logits(
    scalars: Scalars, tile: Tile, change: Array, value: Array, share: Array
) -> Array:
    """The gradient of the logits, from that of the output and its product with it."""
    of_weights = _product(change, value, (1, 1)) / _divisor(scalars)
    of_weights = jnp.where(tile.survives, of_weights, 0)
    of_logits = tile.weights * (of_weights - share[:, None])
    return jnp.where(tile.attended, of_logits, 0)


def _keys_seen(plan: Plan, scalars: Scalars, first_query: Array) -> Array:
    """How many blocks of keys a block of queries is compared with.

    Those of an example without keys are compared with all of them, and attend to
    everything alike.
    """
    size = np.uint32(plan.block[1])
    last = scalars.length
    if plan.is_causal:
        last = jnp.minimum(last, first_query + np.uint32(plan.block[0]))
    last = jnp.where(scalars.length == 0, np.uint32(plan.keys), last)
    return ((last + size - np.uint32(1)) // size).astype(jnp.int32)


def _blocks_seeing(plan: Plan, scalars: Scalars, block: Array) -> Array:
    """The first block of queries that sees a block of keys."""
    if not plan.is_causal:
        return jnp.zeros((), jnp.int32)
    first = (block * np.int32(plan.block[1])) // np.int32(plan.block[0])
    return jnp.where(scalars.length == 0, 0, first)


def _divisor(scalars: Scalars) -> Array:
    keep = scalars.keep
    return jnp.where(keep == 0, 1, keep)


def _first(block: Array, size: int) -> Array:
    return jnp.asarray(block).astype(jnp.uint32) * np.uint32(size)


def _block(reference: Any, index: Array, size: int) -> Array:
    block: Array = reference[pl.ds(index * size, size)]
    return block.astype(jnp.float32)


def _product(left: Array, right: Array, axes: tuple[int, int]) -> Array:
    product: Array = lax.dot_general(left, right, (((axes[0],), (axes[1],)), ((), ())))
    return product
