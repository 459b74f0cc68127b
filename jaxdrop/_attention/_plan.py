"""The plan of a call: its division into groups, strips, blocks and tiles.

A group is one example and one key head, with all query heads that share it. If queries
see only some of the keys, the weights of a group are divided into strips of queries,
each with the keys that any of its queries sees; lengths of strips are counted in panes,
squares of weights. Weights outside of strips are never computed. A strip is divided
into blocks of queries, and a block, if it has many keys, into tiles of keys. Only one
tile of weights, for as many groups as fit, is held at a time. The plan affects the
speed, never the result. docs/design.md has a drawing.
"""

import dataclasses
import itertools
import math
from typing import NamedTuple

import jax

_PANES_TO_A_SIDE = (2, 4)
_MOST_RUNS = 4  # runs of equal strips, each of which is compiled separately
_SHORTEST_PANE = 512
_WIDEST_BLOCK = 8192  # keys of a block that is not divided into tiles
_TILE_KEYS = 2048  # keys of a tile of a wider block
_TILE_ENTRIES = {  # weights that are held at once on a device
    "cpu": 1 << 19,  # as many as fit into caches
    "gpu": 1 << 24,  # enough to keep an accelerator busy
    "tpu": 1 << 24,
}

Reach = tuple[int, int]
"""How many keys before and after its own position a query sees."""


class Strip(NamedTuple):
    """One pane of queries, with all panes of keys that any of them sees.

    Attributes:
      query: the index of the pane of queries.
      key: the index of the first pane of keys.
      width: the number of panes of keys.
    """

    query: int
    key: int
    width: int


Strips = tuple[Strip, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the weights of a call are divided.

    Attributes:
      batch: the number of examples.
      key_heads: the number of heads of the keys.
      group: how many query heads share a key head.
      queries: the number of queries.
      keys: the number of keys.
      drawn: the shape of the dropout mask, (batch, heads, queries, keys), 1 where it is
        shared.
      is_causal: whether queries do not see later keys.
      window: how many keys to the left and right a query sees, or None.
      at_once: how many examples, and how many key heads, are computed at once.
      pane: the numbers of queries and keys of a pane.
      strips: one for each pane of queries, in order.
      tile: the numbers of queries and keys of a tile of the widest strip.
      stretches: whether tiles of narrower strips have more queries, so that they have
        as many weights.
      platform: the platform that the program is lowered for, None if not known.
      stores_mask: whether a tile of the mask is written to memory before it is used.
        Otherwise the compiler for TPUs would fuse the hash into each product, and
        compute it again for every tile of the product.
    """

    batch: int
    key_heads: int
    group: int
    queries: int
    keys: int
    drawn: tuple[int, int, int, int]
    is_causal: bool
    window: Reach | None
    at_once: tuple[int, int]
    pane: tuple[int, int]
    strips: Strips
    tile: tuple[int, int]
    stretches: bool = False
    platform: str | None = None
    stores_mask: bool = False

    @property
    def steps(self) -> tuple[int, int]:
        """The numbers of steps over the examples, and over the key heads."""
        return self.batch // self.at_once[0], self.key_heads // self.at_once[1]

    @property
    def grid(self) -> tuple[int, int]:
        """The numbers of panes along queries and along keys."""
        return -(-self.queries // self.pane[0]), -(-self.keys // self.pane[1])

    @property
    def skips(self) -> bool:
        """Whether some queries are never compared with some keys."""
        return sum(strip.width for strip in self.strips) < math.prod(self.grid)

    @property
    def runs(self) -> list[Strips]:
        """The strips, with neighbours of equal width together."""
        return _runs(self.strips)

    def dense(self) -> "Plan":
        """The same plan, but comparing all queries with all keys."""
        pane = (self.queries, self.keys)
        return dataclasses.replace(self, pane=pane, strips=(Strip(0, 0, 1),))

    def tile_of(self, queries: int, keys: int) -> tuple[int, int]:
        """The largest numbers of queries and keys of a tile of such a strip."""
        length, width = self.tile
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
    platform: str | None,
    devices: int,
    block: tuple[int | None, int | None] = (None, None),
) -> Plan:
    """Chooses panes, strips, blocks, and how many groups are computed at once.

    Args:
      weights: the shape of the weights, (batch, heads, queries, keys).
      key_heads: the number of heads of the keys.
      drawn: the shape of the dropout mask.
      is_causal: whether queries do not see later keys.
      window: how many keys to the left and right a query sees, or None.
      platform: ``"cpu"``, ``"gpu"`` or ``"tpu"``; None for one that is not known, as
        for a CPU.
      devices: over how many devices the compiler may shard examples and heads.
      block: the numbers of queries and keys of a block, None to choose.
    """
    batch, heads, queries, keys = weights
    group = heads // key_heads
    longest = max(queries, keys)
    left, right = (min(reach, longest) for reach in window or (longest, longest))
    if window is not None:
        window = (left, right)  # not beyond all keys, so that it fits into one word
    shortest = min(_SHORTEST_PANE, max(block[0] or 0, block[1] or 0) or _SHORTEST_PANE)
    reach = (left, 0 if is_causal else right)
    pane, strips = _choose_strips(queries, keys, reach, shortest)
    widest = min(keys, max(map(_width, strips)) * pane[1])
    width = block[1] or (widest if widest <= _WIDEST_BLOCK else _TILE_KEYS)
    width = min(width, widest)
    rows = devices * _TILE_ENTRIES[platform or "cpu"] // (group * width)
    at_once, length = _choose_groups(
        batch, key_heads, devices, rows, longest=pane[0], length=block[0]
    )
    return Plan(
        batch=batch,
        key_heads=key_heads,
        group=group,
        queries=queries,
        keys=keys,
        drawn=drawn,
        is_causal=is_causal,
        window=window,
        at_once=at_once,
        pane=pane,
        strips=strips,
        tile=(length, width),
        stretches=block[0] is None,
        platform=platform,
        stores_mask=platform == "tpu",
    )


def _choose_groups(
    batch: int,
    key_heads: int,
    devices: int,
    rows: int,
    *,
    longest: int,
    length: int | None,
) -> tuple[tuple[int, int], int]:
    """How many examples and key heads are computed at once, and queries of a tile.

    Tiles are made as long as fits first, and only then are groups added.

    Args:
      batch: the number of examples.
      key_heads: the number of heads of the keys.
      devices: over how many devices the compiler may shard examples and heads.
      rows: how many queries of a tile, over all groups, fit on all devices.
      longest: the largest number of queries of a tile.
      length: the requested number of queries of a tile, None to choose.
    """
    # A loop over an axis that is sharded over devices would serialize the devices. It
    # is not known here which axis is sharded, so that as many examples, and as many key
    # heads, as there may be devices are computed at once.
    together = math.gcd(key_heads, devices)
    symbolic = jax.export.is_symbolic_dim(batch)  # then all examples are taken at once
    examples, least = batch, devices
    if not symbolic:
        examples = least = math.gcd(batch, devices)
    room = rows // (least * together)
    length = min(length or max(16, room - room % 16), longest)
    room //= 2  # more groups at once gain less than larger tiles
    if length == longest and room >= 2 * length:
        more = _divisor(key_heads // together, room // length)
        together *= more
        if not symbolic:
            examples *= _divisor(batch // examples, room // (length * more))
    return (examples, together), length


def _choose_strips(
    queries: int, keys: int, reach: Reach, shortest: int
) -> tuple[tuple[int, int], Strips]:
    """The size of panes with which the fewest weights are computed, and the strips.

    Strips of one loop are stacked, with a copy of their keys for each of them, so that
    sizes with many panes in a strip would cost too much memory.
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
    """The strips for panes of a given size.

    By the definition of softmax a query that sees no keys attends to all of them
    equally, so that its strip has all keys.
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
    """The largest divisor of a number that is at most a limit, at least 1."""
    return max(
        d for d in range(1, number + 1) if number % d == 0 and d <= max(1, limit)
    )
