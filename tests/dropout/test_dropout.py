"""What is particular to dropout: its division, and generators of every kind."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxdrop
from chance import assert_count, assert_frequency
from decisions import assert_shared
from jaxdrop import masks


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_denormals_are_divided_as_by_a_division(dtype, key):
    smallest = jnp.finfo(dtype).smallest_subnormal
    x = jnp.arange(1, 65).astype(dtype) * jnp.asarray(smallest, dtype)
    y = jaxdrop.dropout(key, x, rate=0.5)
    divided = (x.astype(jnp.float32) / jnp.float32(0.5)).astype(dtype)
    kept = np.asarray(jaxdrop.dropout(key, jnp.ones(64), rate=0.5) != 0)
    np.testing.assert_array_equal(y, np.where(kept, divided, 0))
    if dtype == jnp.float16:  # the others may be flushed, as they are in a division
        assert (np.asarray(y)[kept] > 0).all()


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg", "threefry2x32"])
@pytest.mark.parametrize("layout", [True, False])
def test_every_generator_drops_at_the_rate(impl, layout):
    with jax.threefry_partitionable(layout):
        for rate in (0.001, 0.3, 0.9):
            key = jax.random.key(7, impl=impl)
            y = jaxdrop.dropout(key, jnp.ones(2**18), rate=rate)
            assert_frequency(y == 0, rate)


@pytest.mark.usefixtures("optimized")
def test_the_mean_next_to_a_rate_of_one_is_the_input(key):
    assert masks.keep_probability(1 - 1e-9) == 2**-23
    drop = jax.jit(lambda key: jaxdrop.dropout(key, jnp.ones(2**24), rate=1 - 1e-6))
    y = np.asarray(drop(key))
    assert_count(int((y != 0).sum()), 2**24, 9 / 2**23)
    assert y.max() == np.float32(2**23 / 9)


def test_a_scalar_of_a_narrow_type_is_a_number(key):
    x = jnp.ones(64)
    narrow = jaxdrop.dropout(key, x, rate=ml_dtypes.bfloat16(0.25))
    np.testing.assert_array_equal(narrow, jaxdrop.dropout(key, x, rate=0.25))
    with pytest.raises(ValueError, match="rate is the probability"):
        jaxdrop.dropout(key, x, rate=ml_dtypes.bfloat16(1.5))


def test_what_shares_a_decision_and_what_does_not(key):
    assert_shared(jaxdrop.dropout, key, (2400, 3), (2400, 1), broadcast_dims=(-1,))
