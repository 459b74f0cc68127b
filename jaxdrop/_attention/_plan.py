"""In what order attention is computed: rows, strips, blocks, tiles, from the shapes.

A row is what shares its keys: the query heads of one key head of one example. Where
queries see only some of the keys, its matrix of weights is cut into strips of queries,
each as wide as the keys that they see, in steps of square panes; the rest is never
computed. A strip is cut into blocks of queries, and a block, where its keys are many,
into tiles of keys. Only one tile of weights, of as many rows as fit, is held at a time.
The plan decides how fast a result comes, never what it is.
"""

import dataclasses
import itertools
import math
from typing import NamedTuple

import jax

_PANES_TO_A_SIDE = (2, 4)
_MOST_RUNS = 4  # of strips: each is a program of its own
_SHORTEST_PANE = 512
_LONGEST_ROW = 8192
_TILE_KEYS = 2048  # of rows that are longer
_TILE_ENTRIES = {  # weights held at once on a device
    "cpu": 1 << 19,  # what fits into caches
    "gpu": 1 << 24,  # what keeps an accelerator busy
    "tpu": 1 << 24,
}

Reach = tuple[int, int]
"""How many keys before and after its own position a query sees."""


class Strip(NamedTuple):
    """Queries, and the keys that any of them sees, counted in panes.

    Attributes:
      query: the pane of the queries.
      key: the first pane of the keys.
      width: the number of panes of keys.
    """

    query: int
    key: int
    width: int


Strips = tuple[Strip, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything about a call that is known before it is traced.

    Attributes:
      batch: the number of examples.
      key_heads: the number of heads of the keys.
      group: how many query heads share a key head.
      queries: the number of queries.
      keys: the number of keys.
      drawn: the shape of the dropout mask, (batch, heads, queries, keys), 1 where it is
        shared.
      is_causal: whether a query sees no later keys.
      window: how far a query sees to either side, or None.
      rows: how many examples, and how many key heads, are computed at once.
      pane: queries and keys of a pane.
      strips: one for each pane of queries, in order.
      block: how many queries and keys of the widest strip are computed at once.
      stretches: whether blocks of narrower strips are longer, of as many weights.
      holds: whether a tile of the mask is written to memory before it is used. The
        compiler for TPUs would otherwise draw it inside of each product, again for
        every tile of the product.
    """

    batch: int
    key_heads: int
    group: int
    queries: int
    keys: int
    drawn: tuple[int, int, int, int]
    is_causal: bool
    window: Reach | None
    rows: tuple[int, int]
    pane: tuple[int, int]
    strips: Strips
    block: tuple[int, int]
    stretches: bool = False
    holds: bool = False

    @property
    def steps(self) -> tuple[int, int]:
        """How many steps are made over the examples, and over the key heads."""
        return self.batch // self.rows[0], self.key_heads // self.rows[1]

    @property
    def grid(self) -> tuple[int, int]:
        """How many panes there are along both axes."""
        return -(-self.queries // self.pane[0]), -(-self.keys // self.pane[1])

    @property
    def skips(self) -> bool:
        """Whether some queries are never compared with some keys."""
        return sum(strip.width for strip in self.strips) < math.prod(self.grid)

    @property
    def runs(self) -> list[Strips]:
        """The strips, those of equal width that follow each other together."""
        return _runs(self.strips)

    def dense(self) -> "Plan":
        """The same plan, but comparing all queries with all keys."""
        pane = (self.queries, self.keys)
        return dataclasses.replace(self, pane=pane, strips=(Strip(0, 0, 1),))

    def block_of(self, queries: int, keys: int) -> tuple[int, int]:
        """The most queries and keys of a strip that are computed at once."""
        length, width = self.block
        if self.stretches and keys < width:
            length = length * width // keys
        return min(length, queries), min(width, keys)


def make_plan(
    weights: tuple[int, int, int, int],
    *,
    key_heads: int,
    drawn: tuple[int, int, int, int],
    is_causal: bool,
    window: Reach | None,
    platform: str,
    devices: int,
    block: tuple[int | None, int | None] = (None, None),
) -> Plan:
    """Chooses rows, panes and blocks.

    Args:
      weights: the shape of the weights, (batch, heads, queries, keys).
      key_heads: the number of heads of the keys.
      drawn: the shape of the dropout mask.
      is_causal: whether a query sees no later keys.
      window: how far a query sees to either side, or None.
      platform: ``"cpu"``, ``"gpu"`` or ``"tpu"``.
      devices: over how many devices the compiler may spread examples and heads.
      block: queries and keys of a block, None to choose.
    """
    batch, heads, queries, keys = weights
    group = heads // key_heads
    longest = max(queries, keys)
    left, right = (min(reach, longest) for reach in window or (longest, longest))
    if window is not None:
        window = (left, right)  # as far as there are keys: in one word
    shortest = min(_SHORTEST_PANE, max(block[0] or 0, block[1] or 0) or _SHORTEST_PANE)
    reach = (left, 0 if is_causal else right)
    pane, strips = _choose_strips(queries, keys, reach, shortest)
    widest = min(keys, max(map(_width, strips)) * pane[1])
    width = block[1] or (widest if widest <= _LONGEST_ROW else _TILE_KEYS)
    width = min(width, widest)
    # Whatever axis is spread over devices must not be looped over.
    together = math.gcd(key_heads, devices)
    symbolic = jax.export.is_symbolic_dim(batch)  # of any number: all at once
    examples, least = batch, devices
    if not symbolic:
        examples = least = math.gcd(batch, devices)
    room = devices * _TILE_ENTRIES[platform] // (least * together * group * width)
    length = min(block[0] or max(16, room - room % 16), pane[0])
    room //= 2  # products of many small matrices gain less from each other
    if length == pane[0] and room >= 2 * length:
        more = _divisor(key_heads // together, room // length)
        together *= more
        if not symbolic:
            examples *= _divisor(batch // examples, room // (length * more))
    return Plan(
        batch=batch,
        key_heads=key_heads,
        group=group,
        queries=queries,
        keys=keys,
        drawn=drawn,
        is_causal=is_causal,
        window=window,
        rows=(examples, together),
        pane=pane,
        strips=strips,
        block=(length, width),
        stretches=block[0] is None,
        holds=platform == "tpu",
    )


def _choose_strips(
    queries: int, keys: int, reach: Reach, shortest: int
) -> tuple[tuple[int, int], Strips]:
    """The size of panes that leaves least to compute, and the strips.

    Keys are copied once for each strip of many that they are in, so that a size with
    many panes to a strip is out of the question.
    """
    longest = max(queries, keys)
    sizes = {-(-longest // count) for count in _PANES_TO_A_SIDE}
    sizes |= {max(sum(reach) // 2, shortest)}
    best: tuple[tuple[int, int], Strips] = (queries, keys), (Strip(0, 0, 1),)
    least = 0.8 * queries * keys
    for size in sorted(sizes, reverse=True):
        if not shortest <= size < longest:
            continue
        strips = _strips_of(queries, keys, reach, size)
        panes = sum(map(_width, strips))
        few = panes * size < 5 * longest and len(_runs(strips)) <= _MOST_RUNS
        if few and panes * size**2 < least:
            best, least = ((size, size), strips), panes * size**2
    return best


def _strips_of(queries: int, keys: int, reach: Reach, size: int) -> Strips:
    """The keys that the queries of each pane of a size see.

    A query that sees nothing at all attends to everything alike, as softmax has it.
    """
    left, right = reach
    strips = []
    for start in range(0, queries, size):
        last = min(queries, start + size) - 1
        first_key, last_key = max(0, start - left), min(keys - 1, last + right)
        if last - left >= keys:
            first_key, last_key = 0, keys - 1
        first = first_key // size
        strips.append(Strip(start // size, first, last_key // size - first + 1))
    return tuple(strips)


def _runs(strips: Strips) -> list[Strips]:
    return [tuple(run) for _, run in itertools.groupby(strips, _width)]


def _width(strip: Strip) -> int:
    return strip.width


def _divisor(number: int, limit: int) -> int:
    """The largest divisor of a number that is no larger than a limit, at least 1."""
    return max(
        d for d in range(1, number + 1) if number % d == 0 and d <= max(1, limit)
    )
