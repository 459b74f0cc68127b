"""Other libraries draw the same numbers from a fused key."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxdrop import prng


@pytest.mark.parametrize("raw", [False, True])
def test_fused_keys_draw_split_and_fold_as_default_keys(raw):
    key = (jax.random.PRNGKey if raw else jax.random.key)(3)
    fused = prng.fuse(key)
    assert jax.random.key_impl(fused) == prng.fused_threefry
    for draw in (jax.random.bits, jax.random.normal, jax.random.uniform):
        np.testing.assert_array_equal(draw(fused, (5, 3)), draw(key, (5, 3)))
    np.testing.assert_array_equal(
        jax.random.key_data(jax.random.split(fused, 3)),
        jax.random.key_data(jax.random.split(key, 3)),
    )
    np.testing.assert_array_equal(
        jax.random.key_data(jax.random.fold_in(fused, 9)),
        jax.random.key_data(jax.random.fold_in(key, 9)),
    )


def test_a_fused_key_is_made_from_a_seed():
    made = jax.random.key(0, impl=prng.fused_threefry)
    np.testing.assert_array_equal(
        jax.random.normal(made, (4,)), jax.random.normal(jax.random.key(0), (4,))
    )
    np.testing.assert_array_equal(
        prng.random_bits(made, (4,)), prng.random_bits(jax.random.key(0), (4,))
    )


def test_arrays_of_keys_are_fused_and_other_keys_left_alone(key):
    assert prng.fuse(jax.random.split(key, 3)).shape == (3,)
    rbg = jax.random.key(0, impl="rbg")
    assert prng.fuse(rbg) is rbg


def test_the_dropout_of_other_libraries_draws_the_same_mask(key):
    x = jnp.ones((64, 32))
    fused = prng.fuse(key)
    theirs = {
        "nnx": lambda k: nnx.Dropout(0.3)(x, rngs=k),
        "linen": lambda k: linen.Dropout(0.3, deterministic=False).apply({}, x, rng=k),
        "equinox": lambda k: eqx.nn.Dropout(0.3)(x, key=k),
    }
    for name, drop in theirs.items():
        np.testing.assert_array_equal(drop(fused), drop(key), err_msg=name)
        np.testing.assert_array_equal(jax.jit(drop)(fused), drop(key), err_msg=name)
