"""What is particular to DropBlock: blocks, and a realized rate that is the rate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_count, assert_mean, assert_uncorrelated, normal

RATES = (0.05, 0.1, 0.25, 0.5)


def blocks_from_seeds(is_seed, sides, sizes):
    """Marks, seed by seed, what blocks that start at ``is_seed`` drop of a map."""
    dropped = np.zeros(sizes, bool)
    for start in np.argwhere(is_seed):
        begins = [s - side + 1 for s, side in zip(start, sides, strict=True)]
        ends = [s + 1 for s in start]
        inside = [slice(max(a, 0), b) for a, b in zip(begins, ends, strict=True)]
        dropped[tuple(inside)] = True
    return dropped


def starts_of_padded_blocks(key, rate, sides, sizes):
    """Draws seeds as they are promised, from ``jax.random`` and float64."""
    shape = [size + side - 1 for size, side in zip(sizes, sides, strict=True)]
    bits = np.asarray(jax.random.bits(key, (1, *shape, 1), "uint32"))[0, ..., 0]
    survival = (1 - rate) ** (1 / math.prod(sides))
    return (bits >> 9) >= math.ceil(np.float32(survival) * 2**23)


@pytest.mark.parametrize(
    "sizes, sides",
    [
        ((9, 5), (4, 2)),
        ((9, 6), (3, 11)),  # a block that is wider than the map
        ((17,), (5,)),
        ((6, 4, 5), (2, 3, 2)),
    ],
)
def test_drops_the_blocks_of_its_seeds_and_nothing_else(key, sizes, sides):
    x = jnp.ones((1, *sizes, 1))
    y = jaxdrop.drop_block(
        key, x, rate=0.3, block_size=sides, num_spatial_dims=len(sides)
    )
    seeds = starts_of_padded_blocks(key, 0.3, sides, sizes)
    expected = blocks_from_seeds(seeds, sides, sizes)
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(np.asarray(y)[0, ..., 0] == 0, expected)


MAPS = [
    pytest.param(size, side, marks=() if (size, side) in quick else pytest.mark.slow)
    for quick in [((7, 7), (14, 3), (28, 4))]
    for size in (7, 14, 28)
    for side in (1, 3, 4, 7)
]


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("size, block_size", MAPS)
def test_every_position_is_dropped_at_the_rate(key, size, block_size):
    maps = {7: 40_000, 14: 10_000, 28: 2_500}[size]
    x = jnp.ones((maps, size, size, 1), jnp.bfloat16)
    drop = jax.jit(
        lambda rate: jaxdrop.drop_block(key, x, rate=rate, block_size=block_size) == 0
    )
    for rate in RATES:
        dropped = np.asarray(drop(rate))[..., 0]
        for count in np.unique(dropped.sum(axis=0)):  # the worst are among them
            assert_count(int(count), maps, rate, p_value=1e-8)
        shares = dropped.mean(axis=(1, 2))
        error = 5 * shares.std() / np.sqrt(maps)
        assert abs(shares.mean() - rate) <= 0.01 * rate + error
        border = np.ones((size, size), bool)
        border[1:-1, 1:-1] = False
        assert_mean(dropped[:, border].mean(axis=1), rate)


def test_a_block_of_one_is_dropout(key):
    x = normal(3, 5, 6, 4)
    y = jaxdrop.drop_block(key, x, rate=0.3, block_size=1)
    np.testing.assert_array_equal(y, jaxdrop.dropout(key, x, rate=0.3))


@pytest.mark.usefixtures("optimized")
def test_examples_and_channels_are_independent(key):
    x = np.ones((400, 2, 3, 400), np.float32)
    drop = jax.jit(lambda x: jaxdrop.drop_block(key, x, rate=0.3, block_size=3))
    dropped = np.asarray(drop(x))[:, 1, 1] == 0
    assert_uncorrelated(dropped[:-1], dropped[1:])
    assert_uncorrelated(dropped[:, :-1], dropped[:, 1:])


def test_shared_channels_lose_the_same_blocks(key):
    x = jnp.ones((400, 6, 7, 3))
    y = jaxdrop.drop_block(key, x, rate=0.3, block_size=3, shared_channels=True)
    assert (y == y[..., :1]).all()
    hits = np.asarray(y[..., 0] == 0)
    assert_count(int(hits[:, 0, 0].sum()), 400, 0.3)
    assert_count(int(hits[:, 3, 3].sum()), 400, 0.3)


def test_the_channel_axis_may_stand_anywhere(key):
    x = jnp.ones((2, 6, 7, 3))
    moved = jnp.moveaxis(x, -1, 1)
    y = jaxdrop.drop_block(
        key, moved, rate=0.3, block_size=(3, 2), channel_axis=1, shared_channels=True
    )
    last = jaxdrop.drop_block(key, x, rate=0.3, block_size=(3, 2), shared_channels=True)
    np.testing.assert_array_equal(jnp.moveaxis(y, 1, -1), last)


def test_an_example_alone_has_the_blocks_of_a_batch_of_one(key):
    x = jnp.ones((6, 7, 3))
    alone = jaxdrop.drop_block(key, x, rate=0.3, block_size=3, num_spatial_dims=2)
    np.testing.assert_array_equal(
        alone, jaxdrop.drop_block(key, x[None], rate=0.3, block_size=3)[0]
    )


def test_python_and_traced_rates_give_one_mask(key):
    x = jnp.ones((8, 14, 14, 8))
    traced = jax.jit(lambda rate: jaxdrop.drop_block(key, x, rate=rate))(0.1)
    plain = jaxdrop.drop_block(key, x, rate=0.1)
    assert ((traced == 0) != (plain == 0)).sum() <= 49  # one seed at most


def test_the_mask_is_a_value_of_its_own(key):
    x = jnp.ones((2, 9, 9, 3))
    mask = jaxdrop.masks.blocks(key, x.shape, rate=0.3, block_size=3)
    assert mask.dtype == bool and mask.shape == x.shape
    y = jaxdrop.drop_block(key, x, rate=0.3, block_size=3)
    np.testing.assert_array_equal(jaxdrop.masks.apply(x, mask, keep=0.7), y)


def realised_by_valid_seeds(size, side, rate):
    """The paper's gamma, and how many admissible blocks cover each position."""
    starts = size - side + 1
    gamma = rate / side**2 * (size / starts) ** 2
    covers = [
        sum(start <= position < start + side for start in range(starts))
        for position in range(size)
    ]
    return 1 - (1 - gamma) ** np.outer(covers, covers)


def test_valid_seeds_realise_what_the_paper_does(key):
    x = jnp.ones((20_000, 8, 8, 1))
    y = jaxdrop.drop_block(key, x, rate=0.2, block_size=3, seeds="valid")
    counts = np.asarray(y == 0).sum(axis=0)[..., 0]
    expected = realised_by_valid_seeds(8, 3, 0.2)
    assert expected[0, 0] < 0.05 < 0.18 < expected[4, 4]
    for count, probability in zip(counts.ravel(), expected.ravel(), strict=True):
        assert_count(int(count), 20_000, probability)


def test_valid_seeds_keep_the_sum_of_each_example(key):
    x = jnp.ones((16, 12, 10, 3))
    y = jaxdrop.drop_block(key, x, rate=0.3, block_size=4, seeds="valid")
    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), 1.0, rtol=1e-5)
    one = jaxdrop.drop_block(
        key, x.at[1:].mul(7), rate=0.3, block_size=4, seeds="valid"
    )
    np.testing.assert_array_equal(one[0], y[0])


def test_valid_seeds_at_rate_one_drop_everything(key):
    drop = lambda x: jaxdrop.drop_block(key, x, rate=1.0, block_size=4, seeds="valid")
    x = jnp.ones((2, 9, 9, 1))
    assert not drop(x).any()
    assert not jax.grad(lambda x: drop(x).sum())(x).any()


@pytest.mark.whole
@pytest.mark.parametrize("block_size", [0, -1, 2.5, (3,), (3, 3, 3), (3, 0), "33"])
def test_rejects_a_block_that_is_none(key, block_size):
    with pytest.raises(ValueError, match="block_size must be a positive integer"):
        jaxdrop.drop_block(key, jnp.ones((1, 5, 7, 1)), rate=0.1, block_size=block_size)


def test_rejects_a_valid_block_that_does_not_fit(key):
    with pytest.raises(ValueError, match="must fit into the map"):
        jaxdrop.drop_block(
            key, jnp.ones((1, 5, 7, 1)), rate=0.1, block_size=6, seeds="valid"
        )


def test_rejects_unknown_seeds_and_too_few_axes(key):
    with pytest.raises(ValueError, match="seeds must be one of"):
        jaxdrop.drop_block(key, jnp.ones((1, 5, 7, 1)), rate=0.1, seeds="full")
    with pytest.raises(ValueError, match="needs at least 3 axes"):
        jaxdrop.drop_block(key, jnp.ones((5, 7)), rate=0.1, num_spatial_dims=2)
