"""What a warpgroup of a Hopper GPU does, interpreted."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from jaxdrop._attention import _flash_tile as tile

unit = pytest.importorskip("jaxdrop._attention._flash_warpgroup")
plgpu = unit.plgpu
pytestmark = pytest.mark.skipif(
    not hasattr(plgpu, "InterpretGPUParams"),
    reason="this JAX does not have the interpreter for Mosaic GPU",
)
SIZE = 64
BLOCK = SimpleNamespace(block=(SIZE, SIZE))


def sum_of_products(steps, x_at, found_at, block_in, found_in, filled):
    """In each program the products of blocks of a head, times their numbers."""
    example, head, program = unit.ids(2, 1)
    first, last = (program + np.int32(step) for step in steps)

    def fetch(index, slot):
        rows = pl.ds(index * np.int32(SIZE), SIZE)
        part = x_at.at[example, rows, head]
        plgpu.copy_gmem_to_smem(part, block_in.at[slot], filled.at[slot])

    def step(index, slot, total):
        block = block_in.at[slot]
        product = unit.product(block, unit.transposed(block))
        return total + product * (index + 1).astype(jnp.float32)

    start = jnp.full((SIZE, SIZE), 0, jnp.float32)
    found_in[...] = unit.pipelined(first, last, fetch, filled, step, start)
    unit.copied_back((found_in, found_at.at[example, head, program]))


def test_places_along_axes_are_counted_like_those_of_an_array():
    sizes = (2, 3, 4)
    for index in range(24):
        found = unit.unravelled(jnp.int32(index), sizes)
        assert tuple(map(int, found)) == np.unravel_index(index, sizes)
    assert unit.unravelled(jnp.int32(0), ()) == []


@pytest.mark.parametrize("features, queries", [(128, 64), (192, 32), (256, 32)])
def test_tiles_of_wide_heads_are_half_as_long(features, queries):
    kernel = tile.Kernel(
        *(70, 70, 1, (SIZE, SIZE), False, None, False),
        *(None, (True, True), False, True),
    )
    assert unit.narrowed(kernel, features, 0).block == (queries, SIZE)
    assert unit.narrowed(kernel, features, 1).block == (SIZE, queries)
    memory = unit.Memory(unit.narrowed(kernel, features, 0), jnp.dtype("bfloat16"))
    assert memory.swizzle == 2 * queries  # bytes of a row of the narrowest operand


@pytest.mark.parametrize("steps", [(0, 3), (1, 3), (2, 2)])
def test_each_step_computes_its_own_block(steps):
    x = np.random.default_rng(0).normal(size=(1, 3 * SIZE, 2, SIZE))
    x = jnp.asarray(x, jnp.bfloat16)
    (found,) = jax.jit(
        partial(
            unit.call,
            partial(sum_of_products, steps),
            2,
            outputs=[jax.ShapeDtypeStruct((1, 2, 1, SIZE, SIZE), jnp.float32)],
            scratch=[
                unit.Memory(BLOCK, x.dtype).blocks(x, SIZE, unit.SLOTS),
                plgpu.SMEM((SIZE, SIZE), jnp.float32),
                plgpu.Barrier(num_barriers=unit.SLOTS),
            ],
            interpret=plgpu.InterpretGPUParams(detect_races=True),
        )
    )([x])
    exact = np.asarray(x, "float64").reshape(3, SIZE, 2, SIZE)
    for head in range(2):
        wanted = np.zeros((SIZE, SIZE))
        for index in range(*steps):
            block = exact[index, :, head]
            wanted += block @ block.T * (index + 1)
        np.testing.assert_allclose(found[0, head, 0], wanted, rtol=1e-4, atol=1e-3)
