"""The light generator: its words, in every layout, and what they are like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import (
    assert_count,
    assert_distribution,
    assert_uncorrelated,
    assert_uniform_counts,
)
from jaxdrop import keys, masks, prng
from jaxdrop.prng import _light, _threefry

WORD = 2**32
LONG = (256, 257)  # long enough to be drawn as masks of real use are


def shifted(x: int, distance: int) -> int:
    return x ^ (x >> distance)


def multiplied(x: int, distance: int, factor: int) -> int:
    return shifted(x, distance) * factor % WORD


def mixed(x: int) -> int:
    x = multiplied(multiplied(x, 16, 0x7FEB352D), 15, 0x846CA68B)
    return shifted(x, 16)


def expected(words: tuple[int, int], position: int) -> int:
    """The generator again, on Python's integers."""
    high, low = divmod(position, WORD)
    a = words[0] ^ mixed((words[1] + (high + 1) * 0x9E3779B9) % WORD)
    b = (words[1] + mixed(a ^ 0x85EBCA6B)) % WORD
    c = (a ^ b) * 0x9E3779B1 % WORD
    x = multiplied(low ^ a, 17, 0xED5AD4BB)
    y = multiplied((x + b) % WORD, 11, 0xAC4C1B51)
    y = multiplied(y ^ c, 15, 0x31848BAB)
    return shifted((y + x) % WORD, 14)


def words_of(key) -> tuple[int, int]:
    first, second = jax.random.key_data(key).tolist()
    return first, second


@pytest.fixture
def light(key):
    return prng.light(key)


# Key, position and word: a change of these changes every mask of a light key.
KNOWN = [
    ((0, 0), 0, 0x48B5B22F),
    ((0, 1), 1, 0x2FE35453),
    ((0x13198A2E, 0x03707344), 0x243F6A88, 0x9DC76A98),
    ((0xFFFFFFFF, 0xFFFFFFFF), 2**64 - 1, 0xF5AAF054),
]


@pytest.mark.parametrize("words, position, word", KNOWN)
def test_known_answers(words, position, word):
    assert expected(words, position) == word
    key = jax.random.wrap_key_data(jnp.uint32(words), impl=prng.light_hash)
    assert int(prng.bits_at(key, position)) == word


def test_bits_are_those_of_the_formula(light):
    drawn = jax.jit(prng.random_bits, static_argnums=1)(light, (30, 40)).ravel()
    for position in (0, 1, 39, 40, 700, 1199):
        assert int(drawn[position]) == expected(words_of(light), position)


def test_the_whole_a_part_and_jax_random_agree(light):
    whole = np.asarray(prng.random_bits(light, LONG))
    np.testing.assert_array_equal(whole, jax.random.bits(light, LONG, jnp.uint32))
    at = np.array([[0, 65_791], [40_000, 7]])
    np.testing.assert_array_equal(prng.bits_at(light, at), whole.ravel()[at])
    for ours, theirs in (
        (prng.uniform, jax.random.uniform),
        (prng.normal, jax.random.normal),
    ):
        np.testing.assert_array_equal(ours(light, LONG), theirs(light, LONG))
    mask = np.asarray(masks.bernoulli(light, LONG, rate=0.3))
    np.testing.assert_array_equal(mask, jax.random.bernoulli(light, 0.7, LONG))
    np.testing.assert_array_equal(
        mask.ravel()[at], masks.survives(whole.ravel()[at], keep=0.7)
    )


@pytest.mark.parametrize("hashes", [_light, _threefry])
@pytest.mark.parametrize("width", [8, 2**17])
def test_offsets_are_bits_of_the_positions(hashes, width):
    words, high = jnp.uint32([3, 0xFFFFFFFF]), jnp.uint32(5)
    low = jnp.uint32([0, width, 2**32 - width, 0x9E3779B9 // width * width])[:, None]
    offset = jnp.uint32([0, 1, width // 2, width - 1])[None]
    found = hashes.hash_counters(words, high, low, offset)
    expected = hashes.hash_counters(words, high, low + offset)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "shape", [(), (1,), (0,), (3, 0, 2), (1, 1), (5, 1, 2)], ids=str
)
def test_shapes_of_few_entries(light, shape):
    drawn = prng.random_bits(light, shape)
    assert (drawn.shape, drawn.dtype) == (shape, jnp.uint32)
    at = np.arange(drawn.size).reshape(shape)
    np.testing.assert_array_equal(prng.bits_at(light, at), drawn)


@pytest.mark.parametrize(
    "position", [2**32 - 1, 2**32, 2**32 + 5, 2**45 + 3, 2**64 - 1]
)
def test_positions_beyond_32_bits(light, position):
    word = expected(words_of(light), position)
    high, low = divmod(position, WORD)
    assert int(prng.bits_at(light, position)) == word
    assert int(prng.bits_at(light, np.uint64(position))) == word
    assert int(prng.bits_at(light, low, high=high)) == word
    with jax.enable_x64(True):
        assert int(prng.bits_at(light, jnp.uint64(position))) == word


def test_wide_arrays_number_their_entries_in_64_bits(light):
    high, low = jnp.uint32([0, 3]), jnp.uint32([9, 9])
    at = lambda key: _light.hash_counters(jax.random.key_data(key), high, low)
    first, second = jax.jit(at)(light).tolist()
    assert first == expected(words_of(light), 9)
    assert second == expected(words_of(light), 3 * WORD + 9)
    drawn = jax.eval_shape(lambda k: prng.random_bits(k, (2**17, 2**16)), light)
    assert drawn.shape == (2**17, 2**16)
    for key in (light, prng.fuse(jax.random.key(0))):
        with pytest.raises(ValueError, match=r"axes of at most 2\*\*32"):
            jax.jit(lambda k: jax.random.bits(k, (2**32 + 1,))).lower(key)


def test_other_widths(light):
    words = np.asarray(prng.random_bits(light, (6, 4)))
    for width in (8, 16):
        drawn = jax.random.bits(light, (6, 4), f"uint{width}")
        np.testing.assert_array_equal(drawn, words >> (32 - width))
    with jax.enable_x64(True):
        wide = jax.random.bits(light, (3, 4), jnp.uint64)
        pairs = np.asarray(words, np.uint64).reshape(3, 4, 2)
        np.testing.assert_array_equal(wide, (pairs[..., 0] << 32) | pairs[..., 1])
        far = jax.random.normal(light, (4,), jnp.float64)
    assert far.dtype == jnp.float64
    with pytest.raises(ValueError, match="bit_width"):
        _light.random_bits(jax.random.key_data(light), 4, (3,))


def test_vmap_draws_what_a_loop_draws(light):
    made = jax.random.split(light, 6).reshape(3, 2)
    draw = lambda k: prng.random_bits(k, (4, 5))
    mapped = jax.vmap(jax.vmap(draw, in_axes=0, out_axes=1), out_axes=2)(made)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_array_equal(mapped[:, j, i], draw(made[i, j]))


def test_no_two_keys_share_two_words_of_the_rounds():
    """The schedule is undone, so that it loses nothing of a key."""
    rng = np.random.default_rng(0)
    words = np.concatenate(
        [rng.integers(0, WORD, (200, 2)), [[0, i] for i in range(50)]]
    )
    for high in (0, 1, 77):
        each = jax.vmap(_light.schedule, in_axes=(0, None))
        rounds = each(jnp.asarray(words, jnp.uint32), jnp.uint32(high))
        a, b, c = np.asarray(rounds).tolist()
        for (first, second), x, y, z in zip(words.tolist(), a, b, c, strict=True):
            assert (y - mixed(x ^ 0x85EBCA6B)) % WORD == second
            assert x ^ mixed((second + (high + 1) * 0x9E3779B9) % WORD) == first
            assert z == (x ^ y) * 0x9E3779B1 % WORD


def test_words_repeat_as_often_as_those_of_a_random_function(light):
    """A hash that permutes words would repeat none: what the last sum is for."""
    count = 2**20
    words = np.asarray(prng.random_bits(light, (count,)))
    pairs = count * (count - 1) // 2
    assert_count(count - np.unique(words).size, pairs, 1 / WORD)


def test_words_and_draws_are_uniform(light):
    words = np.asarray(prng.random_bits(light, (2**18,)))
    assert_uniform_counts(np.bincount(words >> np.uint32(20), minlength=2**12))
    assert_uniform_counts(np.bincount(words & np.uint32(0xFFF), minlength=2**12))
    ones = ((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1).sum(0)
    for count in ones.tolist():
        assert_count(count, words.size, 0.5)
    assert_distribution(prng.uniform(light, (20_000,)), "uniform")
    assert_distribution(prng.normal(light, (20_000,)), "norm")


def test_each_bit_of_a_key_and_of_a_position_changes_half_of_the_bits():
    rng = np.random.default_rng(1)
    words = rng.integers(0, WORD, (500, 2), np.uint32)
    at = rng.integers(0, WORD, (500, 2), np.uint32)
    hashed = jax.jit(jax.vmap(lambda k, p: _light.hash_counters(k, p[0], p[1])))
    plain = hashed(words, at)
    for bit, word in np.ndindex(32, 2):
        flip = np.zeros((1, 2), np.uint32)
        flip[0, word] = 1 << bit
        for changed in (hashed(words ^ flip, at), hashed(words, at ^ flip)):
            flipped = int(jax.lax.population_count(plain ^ changed).sum())
            assert_count(flipped, 500 * 32, 0.5)


FAMILIES = {
    "seeds": lambda key: prng.light(jax.vmap(jax.random.key)(jnp.arange(32))),
    "split": lambda key: jax.random.split(key, 32),
    "steps": jax.vmap(lambda key, t: keys.site(key, "a", step=t), in_axes=(None, 0)),
    "sites": lambda key: jnp.stack([keys.site(key, f"{i}") for i in range(32)]),
    "examples": lambda key: keys.example(key, np.arange(32)),
}


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("name", FAMILIES)
def test_masks_of_related_keys_are_independent(light, name, rate):
    family = FAMILIES[name]
    made = family(light, jnp.arange(32)) if name == "steps" else family(light)
    drawn = jax.vmap(lambda k: masks.bernoulli(k, (64, 128), rate=rate))(made)
    drawn = np.asarray(drawn)
    assert_uncorrelated(drawn[:-1], drawn[1:])
    assert_count(int(drawn.sum()), drawn.size, 1 - rate)


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.9])
def test_neighbours_in_a_mask_are_independent(light, rate):
    mask = np.asarray(masks.bernoulli(light, (64, 64, 64), rate=rate))
    for axis in range(3):
        for lag in (1, 2, 32):
            along = np.moveaxis(mask, axis, 0)
            assert_uncorrelated(along[lag:], along[:-lag])
