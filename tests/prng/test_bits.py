"""Bits are those of jax.random, for every kind of key and every transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import assert_uncorrelated
from jaxdrop import masks, prng

SHAPES = [(), (1,), (7,), (97, 31), (2, 1, 3, 1, 2, 1, 1, 5), (0,), (3, 0, 2)]
OTHERS = ["rbg", "unsafe_rbg", "philox2x32", "philox4x32", "threefry4x32"]


def make_key(impl: str) -> jax.Array:
    try:
        return jax.random.key(5, impl=impl)
    except ValueError:
        pytest.skip(f"this JAX has no {impl}")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("draw", ["bits", "uniform", "normal"])
def test_draws_are_those_of_jax(key, shape, draw):
    ours = {"bits": prng.random_bits}.get(draw) or getattr(prng, draw)
    dtype = jnp.uint32 if draw == "bits" else jnp.float32
    theirs = getattr(jax.random, draw)(key, shape, dtype)
    for drawn in (ours(key, shape), jax.jit(ours, static_argnums=1)(key, shape)):
        assert (drawn.dtype, drawn.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(drawn, theirs)


@pytest.mark.parametrize("impl", [None, prng.light_hash])
@pytest.mark.parametrize("distance", [2**31, 2**32, 2**33, 2**40])
def test_the_tail_of_a_huge_mask_does_not_repeat_its_head(impl, distance):
    """No word of a position is lost: bits 2**31, 2**32 and more entries on are new."""
    key = jax.random.key(5, impl=impl)
    near = np.arange(4096, dtype=np.uint64)
    head, tail = (
        np.asarray(prng.bits_at(key, near + np.uint64(start)))
        for start in (0, distance)
    )
    assert not (head == tail).any()
    bits = lambda words: np.unpackbits(words.view(np.uint8))
    assert_uncorrelated(bits(head), bits(tail))


@pytest.mark.parametrize("impl", OTHERS)
def test_other_generators_draw_through_jax(impl):
    key = make_key(impl)
    np.testing.assert_array_equal(
        prng.random_bits(key, (5, 3)), jax.random.bits(key, (5, 3), jnp.uint32)
    )
    at = np.array([4, 2])
    some = np.asarray(prng.bits_at(key, np.arange(6)))
    np.testing.assert_array_equal(prng.bits_at(key, at), some[at])


@pytest.mark.parametrize("impl", [*OTHERS, "threefry2x32"])
def test_bits_of_every_generator_are_those_of_32_bit_mode(impl):
    key = make_key(impl)
    for new_layout in (True, False):
        with jax.threefry_partitionable(new_layout):
            narrow = prng.random_bits(key, (40,))
            with jax.enable_x64(True):
                wide = prng.random_bits(key, (40,))
        assert wide.dtype == jnp.uint32
        np.testing.assert_array_equal(wide, narrow)


def test_the_old_threefry_layout_is_drawn_through_jax(key):
    with jax.threefry_partitionable(False):
        old = jax.random.bits(key, (64,), jnp.uint32)
        np.testing.assert_array_equal(prng.random_bits(key, (64,)), old)
        assert prng.fuse(key) is key
    assert (prng.random_bits(key, (64,)) != old).any()


def test_vmap_draws_what_a_loop_draws(key):
    keys = jax.random.split(key, 6).reshape(3, 2)
    draw = lambda k: prng.random_bits(k, (4, 5))
    mapped = jax.jit(jax.vmap(jax.vmap(draw, in_axes=0, out_axes=1), out_axes=2))
    mapped = np.asarray(mapped(keys))
    for i, j in np.ndindex(3, 2):
        np.testing.assert_array_equal(mapped[:, j, i], draw(keys[i, j]))


def test_a_prefix_and_a_reshape_keep_their_bits(key):
    long = np.asarray(prng.random_bits(key, (100,)))
    np.testing.assert_array_equal(prng.random_bits(key, (60,)), long[:60])
    np.testing.assert_array_equal(prng.random_bits(key, (20, 5)).ravel(), long)


def test_bits_at_positions_are_those_of_the_whole(key):
    whole = np.asarray(prng.random_bits(key, (30, 40))).ravel()
    for at in (np.array([0, 1199, 7]), jnp.arange(6).reshape(2, 3), jnp.uint32(5)):
        np.testing.assert_array_equal(prng.bits_at(key, at), whole[at])


def test_bits_at_positions_beyond_32_bits_are_those_of_their_place(key):
    shape = (2**18, 2**17)
    row, column = 2**17 + 3, 2**16 + 1
    position = row * 2**17 + column
    split = prng.bits_at(
        key, jnp.uint32(position % 2**32), high=jnp.uint32(position // 2**32)
    )
    text = jax.jit(lambda k: prng.random_bits(k, shape)).lower(key).as_text()
    assert "s32" not in text
    with jax.enable_x64(True):
        assert prng.bits_at(key, jnp.uint64(position)) == split


@pytest.mark.parametrize("shape", [(2, 2**31), (2**17, 2**16), (10**12,)])
def test_arrays_beyond_32_bits_lower(key, shape):
    drawn = jax.eval_shape(lambda k: prng.random_bits(k, shape), key)
    assert (drawn.shape, drawn.dtype) == (shape, jnp.uint32)
    jax.jit(lambda k: prng.random_bits(k, shape)).lower(key)


def test_keys_and_counters_are_checked(key):
    with pytest.raises(TypeError, match="key must be a PRNG key"):
        prng.random_bits(0, (3,))
    with pytest.raises(ValueError, match="key must be one key"):
        prng.random_bits(jax.random.split(key), (3,))
    with pytest.raises(TypeError, match="counters must be integers"):
        prng.bits_at(key, jnp.ones(3))
    with pytest.raises(TypeError, match="high must be integers"):
        prng.bits_at(key, jnp.arange(3), high=jnp.ones(3))


def test_bits_are_computed_in_the_loop_of_their_consumer(key):
    """No array of bits or uniforms is in the compiled program."""
    draw = jax.jit(lambda k: (prng.random_bits(k, (512, 512)) >> 9) < 100)
    stats = draw.lower(key).compile().memory_analysis()
    assert stats.temp_size_in_bytes < 512 * 512


def all_draws(key):
    """Whatever draws integers or masks."""
    rates = jnp.array([0.0, 0.1, 0.9])
    return {
        "bits": prng.random_bits(key, (97, 31)),
        "bits at": prng.bits_at(key, jnp.arange(40)),
        "split": jax.random.key_data(jax.random.split(key, 3)),
        "mask": masks.bernoulli(key, (96, 64), rate=0.3),
        "shared": masks.bernoulli(key, (6, 5, 3), rate=rates, broadcast_dims=(0,)),
        "blocks": masks.blocks(key, (2, 8, 8, 3), rate=1e-5, block_size=3),
        "exact": masks.exact(key, (6, 5), num_dropped=2, axis=-1),
    }


@pytest.mark.parametrize("kind", ["threefry", "fused", "light"])
def test_what_the_compiler_optimizes_is_no_bit(key, kind, request):
    """The other tests compile quickly; users do not."""
    key = {"fused": prng.fuse, "light": prng.light}.get(kind, lambda key: key)(key)
    quick = jax.jit(lambda key: all_draws(key))(key)
    request.getfixturevalue("optimized")
    for name, drawn in jax.jit(lambda key: all_draws(key))(key).items():
        np.testing.assert_array_equal(drawn, quick[name], name)
