"""What is particular to zoneout: it keeps the old state, and evaluates to a mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency, assert_mean, normal


def test_units_keep_their_old_state_at_the_rate(key):
    old, new = normal(2, 200, 50)
    state = jaxdrop.zoneout(key, new, old, rate=0.3)
    is_old = np.asarray(state == old)
    np.testing.assert_array_equal(state, np.where(is_old, old, new))
    assert_frequency(is_old, 0.3)


def test_evaluation_is_the_expectation_of_training(key):
    old, new = normal(2, 4, 5)
    expected = jaxdrop.zoneout(None, new, old, rate=0.3, deterministic=True)
    np.testing.assert_allclose(expected, 0.3 * old + 0.7 * new, rtol=1e-6)
    keys = jax.random.split(key, 4096)
    draws = jax.vmap(lambda key: jaxdrop.zoneout(key, new, old, rate=0.3))(keys)
    assert_mean(draws, expected)


def test_the_limits_are_the_new_and_the_old_state(key):
    new, old = jnp.array([1.0, jnp.inf, 3.0]), jnp.array([jnp.inf, 2.0, jnp.nan])
    assert jaxdrop.zoneout(None, new, old, rate=0) is new
    zone = lambda rate, flag: jaxdrop.zoneout(
        key, new, old, rate=rate, deterministic=flag
    )
    for flag in (False, True):
        np.testing.assert_array_equal(jax.jit(zone)(0.0, flag), new)
        np.testing.assert_array_equal(jax.jit(zone)(1.0, flag), old)


def test_the_gradient_reaches_either_state_whole(key):
    new, old = jnp.ones((2, 64))
    zone = lambda new, old: jaxdrop.zoneout(key, new, old, rate=0.3).sum()
    to_new, to_old = jax.grad(zone, argnums=(0, 1))(new, old)
    np.testing.assert_array_equal(to_new + to_old, jnp.ones(64))
    assert set(np.unique(to_new)) == {0.0, 1.0}


def test_half_precision_is_averaged_in_single(key):
    new, old = normal(2, 1000).astype(jnp.bfloat16)
    mean = jaxdrop.zoneout(None, new, old, rate=0.1, deterministic=True)
    exact = 0.1 * np.asarray(old, np.float64) + 0.9 * np.asarray(new, np.float64)
    assert mean.dtype == jnp.bfloat16
    errors = np.abs(np.asarray(mean, np.float64) - exact)
    assert (errors <= np.abs(exact) * 2**-8 + 1e-6).all()


def test_rejects_states_that_do_not_match(key):
    with pytest.raises(ValueError, match="the same shape"):
        jaxdrop.zoneout(key, jnp.ones((2, 3)), jnp.ones((3,)), rate=0.1)
    with pytest.raises(TypeError, match="the same dtype"):
        jaxdrop.zoneout(key, jnp.ones(3), jnp.ones(3, jnp.bfloat16), rate=0.1)
