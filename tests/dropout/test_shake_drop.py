"""What is particular to ShakeDrop: factors forward, others backward, and a mean."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import jaxdrop
from chance import (
    assert_distribution,
    assert_frequency,
    assert_mean,
    assert_uncorrelated,
    normal,
)


def factors(key, rate, shape=(4000, 3), **knobs):
    """What each example is multiplied by, forward and backward."""
    shake = lambda x: jaxdrop.shake_drop(key, x, rate=rate, **knobs)
    y, pull = jax.vjp(shake, jnp.ones(shape))
    return np.asarray(y), np.asarray(pull(jnp.ones(shape))[0])


def test_shaken_branches_have_uniform_factors_and_the_others_none(key):
    forward, backward = factors(key, 0.4)
    assert (forward == forward[:, :1]).all() and (backward == backward[:, :1]).all()
    forward, backward = forward[:, 0], backward[:, 0]
    shaken = forward != 1
    assert_frequency(shaken, 0.4)
    assert (backward[~shaken] == 1).all()
    assert_distribution(forward[shaken], stats.uniform(-1, 2).cdf)
    assert_distribution(backward[shaken], stats.uniform(0, 1).cdf)
    assert_uncorrelated(forward[shaken], backward[shaken])


def test_evaluation_is_the_expectation_over_keys(key):
    x = normal(4, 5)
    expected = jaxdrop.shake_drop(None, x, rate=0.3, deterministic=True)
    np.testing.assert_allclose(expected, 0.7 * x, rtol=1e-6)
    draw = jax.vmap(lambda key: jaxdrop.shake_drop(key, x, rate=0.3))
    assert_mean(draw(jax.random.split(key, 8192)), expected)
    run = jax.jit(lambda flag: jaxdrop.shake_drop(key, x, rate=0.3, deterministic=flag))
    np.testing.assert_allclose(run(True), expected, rtol=1e-6)


def test_the_limits_are_the_branch_and_shaking_it_always(key):
    x = jnp.array([[1.0], [jnp.inf], [1e-42]])
    assert jaxdrop.shake_drop(None, x, rate=0) is x
    shake = jax.jit(lambda rate: jaxdrop.shake_drop(key, x, rate=rate))
    np.testing.assert_array_equal(shake(0.0), x)
    forward, _ = factors(key, 1.0)
    assert (forward != 1).all()
    assert np.isnan(shake(jnp.float32(1.5))).all()


def test_the_choice_is_nested_in_the_rate_and_one_may_serve_all(key):
    few, many = (factors(key, rate)[0] != 1 for rate in (0.2, 0.6))
    assert not (few & ~many).any() and (many & ~few).any()
    forward, _ = factors(key, 0.9, (6, 3), batch_axis=None)
    assert len(np.unique(forward)) == 1


def test_forward_mode_follows_the_backward_factors(key):
    shake = lambda x: jaxdrop.shake_drop(key, x, rate=0.5)
    x = jnp.ones((50, 2))
    _, along = jax.jvp(shake, (x,), (x,))
    np.testing.assert_array_equal(along, factors(key, 0.5, (50, 2))[1])
