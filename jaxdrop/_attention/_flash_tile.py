"""The arithmetic of one tile of weights inside a flash attention kernel.

A kernel computes tiles of (keys, queries) or of (queries, keys), depending on its
products: for a product that contracts the first axis of a tile the compiler would
transpose the tile, and the hash that it is computed from. Positions are absolute, so
that a tile draws its part of the mask of all weights by itself.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._attention._plan import Reach
from jaxdrop._attention._tiles import MASKED
from jaxdrop._typing import Array
from jaxdrop.prng import _light, _threefry
from jaxdrop.prng._bits import CounterHash

LOWEST = float(np.finfo(np.float32).min)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The facts about the kernels of a call that are known before tracing.

    Attributes:
      queries: the number of queries.
      keys: the number of keys.
      group: how many query heads share a key head.
      block: the numbers of queries and keys of a tile, powers of two.
      is_causal: whether queries do not attend to later keys.
      window: how many keys to the left and right a query attends to, or None.
      has_lengths: whether the number of keys differs between examples.
      hash: the function that computes the bits of the mask.
      drawn: whether draws differ between queries, and between keys.
      wide: whether positions in the mask need more than one word.
      skips: whether tiles that are completely masked are skipped.
    """

    queries: int
    keys: int
    group: int
    block: tuple[int, int]
    is_causal: bool
    window: Reach | None
    has_lengths: bool
    hash: CounterHash
    drawn: tuple[bool, bool]
    wide: bool
    skips: bool

    @property
    def name(self) -> str:
        """All of these in words, the same in every process."""
        facts = dataclasses.asdict(self) | {"hash": self.hash.__module__}
        return ", ".join(f"{name} {fact}" for name, fact in facts.items())

    @property
    def steps(self) -> tuple[int, int]:
        """The numbers of blocks of queries and of keys."""
        return -(-self.queries // self.block[0]), -(-self.keys // self.block[1])

    @property
    def masks(self) -> bool:
        """Whether a causal mask, a window or lengths restrict what is attended to."""
        return self.is_causal or self.window is not None or self.has_lengths


class Numbers(NamedTuple):
    """The scalars of all examples and heads, as flat arrays.

    Attributes:
      whole: four uint32 numbers for each example: the two words of the key, the
        threshold and the number of keys.
      real: three float32 numbers for each example: scale, inverse and factor.
      examples: the number of the first row of each example in the mask, uint32.
      heads: the number of the first row of each head, relative to its example, uint32.
    """

    whole: Array
    real: Array
    examples: Array
    heads: Array


class Scalars(NamedTuple):
    """The scalars of one head of one example.

    Attributes:
      words: the two words of the key of the mask, uint32.
      last: the largest bits that survive, uint32. All 32 bits are compared, which saves
        the shift of each entry to those that :func:`jaxdrop._masks.threshold_of` is
        for. If nothing is kept, all entries survive, and ``inverse`` is 0.
      length: the number of keys, int32.
      first_row: the number of the first row of the head in the mask, uint32.
      scale: the factor of the logits.
      inverse: one over the probability of keeping, or 0 if nothing is kept.
      factor: the factor of the gradients of queries and keys.
    """

    words: tuple[Array, Array]
    last: Array
    length: Array
    first_row: Array
    scale: Array
    inverse: Array
    factor: Array


class Places(NamedTuple):
    """The positions of a tile's queries and keys, int32.

    Both have two axes. Along the axis of the other one they have length 1, or the
    whole length where registers hold no other arrays (:mod:`_flash_warpgroup`).

    Attributes:
      query: the positions of queries.
      key: the positions of keys.
      apart: the position of the tile's first key, and those of keys relative to it;
        None where it saves no operations, since registers hold whole arrays.
    """

    query: Array
    key: Array
    apart: tuple[Array, Array] | None = None

    def of_keys(self, part: slice) -> "Places":
        """The positions of a part of the keys, which are the first axis."""
        apart = self.apart and (self.apart[0], self.apart[1][part])
        return Places(self.query, self.key[part], apart)


def places(
    first_query: Array, first_key: Array, shape: tuple[int, int], *, keys_axis: int
) -> Places:
    """The positions of a tile.

    Args:
      first_query: the position of its first query.
      first_key: the position of its first key.
      shape: the numbers of queries and keys.
      keys_axis: the axis of the keys.
    """

    def along(axis: int, size: int) -> Array:
        axes = (size, 1) if axis == 0 else (1, size)
        return lax.broadcasted_iota(jnp.int32, axes, axis)

    first_query, first_key = (x.astype(jnp.int32) for x in (first_query, first_key))
    query, offset = along(1 - keys_axis, shape[0]), along(keys_axis, shape[1])
    return Places(query + first_query, offset + first_key, (first_key, offset))


def logits_of(
    kernel: Kernel, scalars: Scalars, at: Places, product: Array, extra: dict[str, Any]
) -> tuple[Array, Array | None]:
    """The logits of a tile, and which of them are not masked, None for all.

    Args:
      kernel: the static facts about the call.
      scalars: the scalars of the head.
      at: the positions of the tile.
      product: queries times keys, in the orientation of ``at``.
      extra: ``bias`` and ``mask``, if given, in the same orientation.
    """
    logits = product * scalars.scale
    if "bias" in extra:
        logits = logits + extra["bias"].astype(jnp.float32)
    attended = _attended(kernel, scalars, at, extra)
    if attended is not None:
        logits = jnp.where(attended, logits, MASKED)
    if kernel.keys % kernel.block[1]:
        logits = jnp.where(at.key < kernel.keys, logits, -jnp.inf)
    return logits, attended


def _attended(
    kernel: Kernel, scalars: Scalars, at: Places, extra: dict[str, Any]
) -> Array | None:
    """Which logits are not masked, None for all."""
    conditions = []
    if kernel.is_causal:
        conditions.append(at.key <= at.query)
    if kernel.window is not None:
        left, right = (np.int32(reach) for reach in kernel.window)
        conditions.append((at.query - left <= at.key) & (at.key - right <= at.query))
    if kernel.has_lengths:
        conditions.append(at.key < scalars.length)
    if "mask" in extra:
        conditions.append(extra["mask"].astype(jnp.float32) > 0)
    return functools.reduce(jnp.logical_and, conditions) if conditions else None


def survives(kernel: Kernel, scalars: Scalars, at: Places) -> Array:
    """The part of the dropout mask of a tile, of length 1 along axes that share draws.

    The arithmetic is that of :func:`_tiles.counters_of`, in the orientation of ``at``.
    """
    queries, keys = kernel.drawn
    shared = tuple(map(min, at.query.shape, at.key.shape))  # by queries and by keys
    row = jnp.broadcast_to(scalars.first_row, shared)
    if queries:
        row = row + at.query.astype(jnp.uint32)
    key, offset, width = at.key.astype(jnp.uint32), None, kernel.block[1]
    if at.apart and kernel.keys % width == 0 and width <= _light.MOST_OFFSETS:
        # Rows of a tile begin at multiples of its width, a power of two.
        key, offset = (x.astype(jnp.uint32) for x in at.apart)
    if not keys:
        high, low, offset = jnp.zeros_like(row), row, None
    elif not kernel.wide:
        low = row * np.uint32(kernel.keys) + key
        high = jnp.zeros((), jnp.uint32)
    else:
        zero = jnp.zeros_like(row)
        high, first = _threefry.add_product(zero, zero, row, kernel.keys)
        low = first + key
        # With a power of two of keys the low word cannot overflow within a row.
        if kernel.keys & (kernel.keys - 1):
            high = high + (low < key).astype(jnp.uint32)
    return kernel.hash(scalars.words, high, low, offset) <= scalars.last


def visible(
    kernel: Kernel, scalars: Scalars, first_query: Array, first_key: Array
) -> Array | None:
    """Whether a tile is not completely masked; None if no tile is skipped."""
    if not kernel.skips:
        return None
    last_query = first_query + np.int32(kernel.block[0] - 1)
    last_key = first_key + np.int32(kernel.block[1] - 1)
    conditions = []
    if kernel.is_causal:
        conditions.append(first_key <= last_query)
    if kernel.window is not None:
        left, right = (np.int32(reach) for reach in kernel.window)
        conditions.append(first_query - left <= last_key)
        conditions.append(first_key - right <= last_query)
    if kernel.has_lengths:
        conditions.append(first_key < scalars.length)
    return functools.reduce(jnp.logical_and, conditions) if conditions else None


def keys_seen(
    kernel: Kernel, scalars: Scalars, first_query: Array
) -> tuple[Array, Array]:
    """The range of blocks of keys that a block of queries sees: the first, the end."""
    first, end = jnp.zeros((), jnp.int32), jnp.full((), kernel.keys, jnp.int32)
    if kernel.skips:
        beyond = first_query + np.int32(kernel.block[0])
        if kernel.is_causal:
            end = jnp.minimum(end, beyond)
        if kernel.window is not None:
            left, right = (np.int32(reach) for reach in kernel.window)
            first, end = (
                jnp.maximum(first, first_query - left),
                jnp.minimum(end, beyond + right),
            )
        if kernel.has_lengths:
            end = jnp.minimum(end, scalars.length)
    return _blocks(first, end, kernel.block[1])


def queries_seeing(
    kernel: Kernel, scalars: Scalars, first_key: Array
) -> tuple[Array, Array]:
    """The range of blocks of queries that see a block of keys: the first, the end."""
    first, end = jnp.zeros((), jnp.int32), jnp.full((), kernel.queries, jnp.int32)
    if kernel.skips:
        if kernel.is_causal:
            first = jnp.maximum(first, first_key)
        if kernel.window is not None:
            left, right = (np.int32(reach) for reach in kernel.window)
            beyond = first_key + np.int32(kernel.block[1])
            first, end = (
                jnp.maximum(first, first_key - right),
                jnp.minimum(end, beyond + left),
            )
        if kernel.has_lengths:
            end = jnp.where(first_key < scalars.length, end, first)
    return _blocks(first, end, kernel.block[0])


def _blocks(first: Array, end: Array, size: int) -> tuple[Array, Array]:
    """A range of positions in blocks; the last may be only partly in it."""
    number = np.int32(size)
    return lax.div(first, number), lax.div(end + number - np.int32(1), number)


def product(left: Array, right: Array, axes: tuple[int, int]) -> Array:
    """The product of two matrices over one axis of each, in single precision."""
    found: Array = lax.dot_general(
        left,
        right,
        (((axes[0],), (axes[1],)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return found


def scalars_of(numbers: Any, example: Array, head: Array) -> Scalars:
    """The scalars of one head of one example, read from references to all scalars."""
    whole, real, examples, heads = numbers
    four, three = example * np.int32(4), example * np.int32(3)
    words = [whole[four + np.int32(i)] for i in range(4)]
    reals = [real[three + np.int32(i)] for i in range(3)]
    return Scalars(
        (words[0], words[1]),
        (words[2] << np.uint32(9)) - np.uint32(1),
        words[3].astype(jnp.int32),
        examples[example] + heads[head],
        *reals,
    )


def padded(x: Array, multiples: dict[int, int], beyond: float = 0) -> Array:
    """Pads axes at their end to multiples of given sizes, with 0 or another number."""
    missing = [-x.shape[a] % multiples.get(a, 1) for a in range(x.ndim)]
    if not any(missing):
        return x
    return jnp.pad(x, [(0, n) for n in missing], constant_values=beyond)


def padded_weights(x: Array, block: tuple[int, int]) -> Array:
    """Pads a bias or mask to whole blocks, except along axes of length 1."""
    sizes = {2: block[0], 3: block[1]}
    return padded(x, {a: n for a, n in sizes.items() if x.shape[a] > 1})


def like(x: Any, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """A shape and dtype, varying over the same mesh axes as ``x``."""
    if isinstance(x, jax.ShapeDtypeStruct):
        kind = x.manual_axis_type
    else:
        kind = jax.typeof(x).manual_axis_type
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=kind)
