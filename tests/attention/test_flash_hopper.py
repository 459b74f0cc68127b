"""The kernels of Hopper GPUs, interpreted: the exported mask, and the formula."""

import jax.numpy as jnp
import numpy as np
import pytest
from attention.hopper import (
    CALLS,
    assert_formula,
    attended,
    needs_interpreter,
)
from attention.hopper import calls as calls

import jaxdrop

pytestmark = needs_interpreter
SHARED = [(), (0, 1), (2,), (3,), (2, 3)]  # axes along which draws are shared


def test_outputs_and_gradients_are_the_formulas(calls, key):
    assert_formula(calls, key, "mask", jnp.float16, batch=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("light", [False, True])
def test_every_option_with_both_generators(calls, key, name, light):
    key = jaxdrop.prng.light(key) if light else key
    assert_formula(calls, key, name, jnp.bfloat16)


def mask_of(calls, key, features, broadcast_dims):
    """The mask that the kernels draw, and the exported one."""
    queries, keys = 70, 100
    eye = jnp.broadcast_to(
        jnp.eye(keys, features)[None, :, None], (2, keys, 1, features)
    )
    floating = {
        "query": jnp.zeros((2, queries, 2, features), jnp.bfloat16),
        "key": jnp.zeros((2, keys, 1, features), jnp.bfloat16),
        "value": eye.astype(jnp.bfloat16),
    }
    options = {"broadcast_dims": broadcast_dims}
    weights = attended(calls, key, floating, options)["output"][..., :keys]
    shape = (2, 2, queries, keys)
    kept = jaxdrop.masks.bernoulli(key, shape, rate=0.3, broadcast_dims=broadcast_dims)
    return np.moveaxis(weights, 1, 2) > 0, np.broadcast_to(kept, shape)


@pytest.mark.parametrize(
    "light, broadcast_dims",
    [(True, ()), *(pytest.param(False, x, marks=pytest.mark.slow) for x in SHARED)],
)
def test_the_mask_is_the_exported_one_bit_for_bit(calls, key, light, broadcast_dims):
    key = jaxdrop.prng.light(key) if light else key
    np.testing.assert_array_equal(*mask_of(calls, key, 100, broadcast_dims))


@pytest.mark.slow
@pytest.mark.parametrize("features", [192, 256])
def test_the_mask_of_wide_heads_is_the_exported_one(calls, key, features):
    np.testing.assert_array_equal(*mask_of(calls, key, features, ()))
