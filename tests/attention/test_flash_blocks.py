"""Block specifications of GPU kernels: the part of an array that a program reads."""

import numpy as np
import pytest

from jaxdrop._attention import _flash_blocks as blocks

X = np.arange(2 * 32 * 6 * 5).reshape(2, 32, 6, 5)  # examples, length, heads, features
ROWS = np.arange(2 * 6 * 32).reshape(2, 6, 32)


def read(spec, x, *ids):
    """The block at a place of the grid, as Pallas cuts it out."""
    block = spec.index_map(*map(np.int32, ids))
    places = []
    for size, index in zip(spec.block_shape, block, strict=True):
        whole = 1 if size is None else size
        places.append(slice(int(index) * whole, (int(index) + 1) * whole))
    squeezed = tuple(i for i, size in enumerate(spec.block_shape) if size is None)
    return np.squeeze(x[tuple(places)], squeezed)


@pytest.mark.parametrize("example, head, step", [(0, 0, 0), (1, 5, 3), (1, 2, 1)])
def test_a_program_reads_its_block_of_its_head(example, head, step):
    at = example, head, step
    rows = slice(8 * step, 8 * step + 8)
    np.testing.assert_array_equal(
        read(blocks.block(X, 8), X, *at), X[example, rows, head]
    )
    np.testing.assert_array_equal(
        read(blocks.row_block(8), ROWS, *at), ROWS[example, head, rows]
    )


@pytest.mark.parametrize("group", [1, 2, 3])
def test_query_heads_share_the_key_head_of_their_group(group):
    keys = X[:, :, : 6 // group]
    for head in range(6):
        found = read(blocks.head(keys, group), keys, 1, head, 2)
        np.testing.assert_array_equal(found, keys[1, :, head // group])
    for key_head in range(6 // group):
        heads = slice(group * key_head, group * (key_head + 1))
        found = read(blocks.heads(X, group), X, 1, key_head, 2)
        np.testing.assert_array_equal(found, X[1, :, heads])
        found = read(blocks.row_heads(ROWS, group), ROWS, 1, key_head, 2)
        np.testing.assert_array_equal(found, ROWS[1, heads])


def test_scalars_are_read_whole_by_every_program():
    numbers = np.arange(12)
    np.testing.assert_array_equal(
        read(blocks.whole(numbers), numbers, 1, 5, 3), numbers
    )
    np.testing.assert_array_equal(read(blocks.whole(X), X, 1, 5, 3), X)
