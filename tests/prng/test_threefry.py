"""The fused hash against published vectors, jax.random, and Python's integers."""

import itertools

import jax
import jax.extend.random as jex_random
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop.prng import _threefry

# counter, key, output of threefry2x32 with 20 rounds: Random123's known answers.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    (
        (0x243F6A88, 0x85A308D3),
        (0x13198A2E, 0x03707344),
        (0xC4923A9C, 0x483DF7A0),
    ),
]


def words(*values) -> jax.Array:
    return jax.device_put(np.array(values, np.uint32))


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_known_answers(counter, key, expected):
    x, y = _threefry.threefry2x32(words(*key), *words(*counter))
    assert (int(x), int(y)) == expected


def test_it_is_the_hash_of_jax_for_both_words_of_the_counter():
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 2**32, (2, 1000), dtype=np.uint32)
    key = words(123, 2**31 + 7)
    ours = _threefry.threefry2x32(key, jax.device_put(high), jax.device_put(low))
    k0, k1 = (jnp.broadcast_to(word, (1000,)) for word in key)
    theirs = jex_random.threefry2x32_p.bind(
        k0, k1, jax.device_put(high), jax.device_put(low)
    )
    np.testing.assert_array_equal(jnp.stack(ours), jnp.stack(theirs))


@pytest.mark.parametrize("stride", [1, 3, 65_537, 2**32 - 1, 2**32, 7 * 2**33 + 5])
def test_wide_products_are_those_of_integers(stride):
    rng = np.random.default_rng(1)
    index, high, low = rng.integers(0, 2**32, (3, 10_000), dtype=np.uint32)
    got_high, got_low = _threefry.add_product(
        jax.device_put(high), jax.device_put(low), jax.device_put(index), stride
    )
    for values in zip(high, low, index, got_high, got_low, strict=True):
        h, l, i, gh, gl = map(int, values)
        assert (gh << 32) + gl == ((h << 32) + l + i * stride) % 2**64


def test_counters_of_a_huge_array_are_its_positions(monkeypatch):
    """Rows far into an array of 2**33 entries, computed on their own."""
    shape, word = (2**17, 2**16), 2**32
    rows = jnp.arange(2**16 - 2, 2**16 + 2, dtype=jnp.uint32)  # where 2**32 is passed

    def iota(dtype, shape, axis, out_sharding=None):
        index = (rows[:, None], jnp.arange(2**16, dtype=dtype)[None])[axis]
        return jnp.broadcast_to(index, (4, 2**16))

    monkeypatch.setattr(_threefry.lax, "broadcasted_iota", iota)
    high, low = _threefry.counters(shape, out_sharding=None)
    for row, column in itertools.product(range(4), (0, 1, 2**16 - 1)):
        position = int(rows[row]) * 2**16 + column
        assert int(high[row, column]) == position // word
        assert int(low[row, column]) == position % word


def test_only_a_single_axis_beyond_32_bits_has_no_counters():
    assert _threefry.has_counters((2**32,))
    assert _threefry.has_counters((2**30, 2**30))
    assert not _threefry.has_counters((2**32 + 1,))
    assert not _threefry.has_counters((2**32, 2**32, 2))


def test_widths_of_bits_are_those_of_jax():
    key = words(5, 6)
    typed = jax.random.wrap_key_data(key)
    with jax.enable_x64(True):
        for width in (8, 16, 32, 64):
            ours = _threefry.random_bits(key, width, (3, 5))
            np.testing.assert_array_equal(
                ours, jax.random.bits(typed, (3, 5), f"uint{width}")
            )
    with pytest.raises(ValueError, match="bit_width"):
        _threefry.random_bits(key, 4, (3,))
