"""The grid of TPU kernels: the block of each array that a step reads or writes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop._attention._flash_grid import Grid, _bytes
from jaxdrop._attention._flash_tile import Kernel
from jaxdrop.prng._bits import counter_hash

GROUP, BLOCK = 3, (8, 4)
KERNEL = Kernel(
    queries=16,
    keys=12,
    group=GROUP,
    block=BLOCK,
    is_causal=False,
    window=None,
    has_lengths=False,
    hash=counter_hash(jax.random.key(0)),
    drawn=(True, True),
    wide=False,
    skips=True,
)
SIZES = {"b": 2, "h": 2, "g": GROUP, "q": 2}
FORWARD = Grid("bhqk", SIZES | {"h": 6}, KERNEL)
BACKWARD = Grid("bhgqk", SIZES, KERNEL)


def arrays(*shape):
    return np.arange(np.prod(shape)).reshape(shape)


def read(grid, x, kind, at):
    spec = grid.spec(x, kind)
    block = spec.index_map(*(jnp.int32(at[name]) for name in grid.order))
    sizes = [1 if size is None else size for size in spec.block_shape]
    places = [
        slice(int(i) * n, (int(i) + 1) * n) for i, n in zip(block, sizes, strict=True)
    ]
    return x[tuple(places)][0, 0]


def steps(grid):
    ranges = (range(grid.sizes[name]) for name in grid.order)
    for place in itertools.product(*ranges):
        yield dict(zip(grid.order, place, strict=True))


@pytest.mark.parametrize("grid", [FORWARD, BACKWARD], ids=lambda grid: grid.order)
def test_a_step_reads_its_queries_and_the_keys_of_their_head(grid):
    queries, keys, rows = arrays(2, 6, 16, 5), arrays(2, 2, 12, 5), arrays(2, 6, 1, 16)
    for at in steps(grid):
        head = at["h"] * GROUP + at["g"] if "g" in at else at["h"]
        assert grid.head({name: np.int32(i) for name, i in at.items()}) == head
        first = [
            np.int32(at[name]) * size for name, size in zip("qk", BLOCK, strict=True)
        ]
        assert [
            int(i) for i in grid.firsts({n: np.int32(i) for n, i in at.items()})
        ] == first
        own = queries[at["b"], head, first[0] : first[0] + 8]
        np.testing.assert_array_equal(read(grid, queries, "q", at), own)
        own = keys[at["b"], head // GROUP, first[1] : first[1] + 4]
        np.testing.assert_array_equal(read(grid, keys, "k", at), own)
        own = rows[at["b"], head, :, first[0] : first[0] + 8]
        np.testing.assert_array_equal(read(grid, rows, "r", at), own)


@pytest.mark.parametrize(
    "shape", [(2, 6, 16, 12), (1, 6, 1, 12), (2, 1, 16, 1), (1,) * 4]
)
def test_axes_of_length_1_are_shared_by_all_steps(shape):
    x = arrays(*shape)
    whole = np.broadcast_to(x, (2, 6, 16, 12))
    for at in steps(FORWARD):
        rows, columns = (
            slice(at[name] * size, (at[name] + 1) * size)
            for name, size in zip("qk", BLOCK, strict=True)
        )
        own = whole[at["b"], at["h"], rows, columns]
        found = read(FORWARD, x, "w", at)
        np.testing.assert_array_equal(np.broadcast_to(found, own.shape), own)


def test_gradients_of_keys_are_written_in_their_last_step_and_nowhere_else():
    keys = arrays(2, 2, 12, 5)
    for at in steps(BACKWARD):
        last = at["g"] == GROUP - 1 and at["q"] == 1
        step = at["k"] if last else 0
        own = keys[at["b"], at["h"], 4 * step : 4 * step + 4]
        np.testing.assert_array_equal(read(BACKWARD, keys, "last k", at), own)


@pytest.mark.parametrize(
    "shape, size", [((8, 128), 4096), ((1, 1), 4096), ((9, 129), 4 * 16 * 256)]
)
def test_scratch_takes_whole_registers(shape, size):
    assert _bytes(jax.ShapeDtypeStruct(shape, jnp.float32)) == size
