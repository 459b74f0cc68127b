"""What is particular to Shake-Shake: forward and backward mix with other weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from chance import assert_distribution, assert_uncorrelated, normal


def weights(key, shape=(4000, 3), **knobs):
    """The weight of the first branch forward, and backward, for each example."""
    a, b = jnp.ones(shape), jnp.zeros(shape)
    mix = lambda a, b: jaxdrop.shake_shake(key, a, b, **knobs)
    y, pull = jax.vjp(mix, a, b)
    to_a, to_b = pull(jnp.ones(shape))
    np.testing.assert_allclose(to_a + to_b, 1, rtol=1e-6)
    return np.asarray(y), np.asarray(to_a)


def test_each_example_mixes_uniformly_and_its_gradient_independently(key):
    forward, backward = weights(key)
    for weight in (forward, backward):
        assert (weight == weight[:, :1]).all()
        assert_distribution(weight[:, 0], stats.uniform.cdf)
        assert_uncorrelated(weight[:-1, 0], weight[1:, 0])
    assert_uncorrelated(forward[:, 0], backward[:, 0])


def test_the_output_is_the_mixture_of_both_branches(key):
    a, b = normal(2, 5, 7)
    weight = weights(key, (5, 7))[0]
    expected = weight * a + (1 - weight) * b
    np.testing.assert_allclose(
        jaxdrop.shake_shake(key, a, b), expected, rtol=1e-5, atol=1e-6
    )


def test_one_mixture_may_serve_all(key):
    forward, backward = weights(key, (6, 3), batch_axis=None)
    assert len(np.unique(forward)) == 1 and len(np.unique(backward)) == 1
    alone = jax.vmap(lambda key: weights_of_one(key))(jax.random.split(key, 50))
    assert len(np.unique(alone)) == 50


def weights_of_one(key):
    return jaxdrop.shake_shake(key, jnp.ones(()), jnp.zeros(()), batch_axis=None)


def test_forward_mode_follows_the_backward_weights(key):
    a, b = normal(2, 5, 7)
    mix = lambda a, b: jaxdrop.shake_shake(key, a, b)
    _, along = jax.jvp(mix, (a, b), (jnp.ones_like(a), jnp.zeros_like(b)))
    _, pull = jax.vjp(mix, a, b)
    np.testing.assert_allclose(along, pull(jnp.ones_like(a))[0], rtol=1e-6)


def test_evaluation_is_the_mean_of_the_branches(key):
    a, b = normal(2, 5, 7)
    run = lambda flag: jaxdrop.shake_shake(key, a, b, deterministic=flag)
    np.testing.assert_allclose(run(True), (a + b) / 2, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(run)(True), (a + b) / 2, rtol=1e-6)
    gradient = jax.grad(
        lambda a: jaxdrop.shake_shake(None, a, b, deterministic=True).sum()
    )
    np.testing.assert_array_equal(gradient(a), jnp.full((5, 7), 0.5))


def test_rejects_branches_that_do_not_match(key):
    with pytest.raises(ValueError, match="the same shape"):
        jaxdrop.shake_shake(key, jnp.ones((2, 3)), jnp.ones((3, 3)))
    with pytest.raises(TypeError, match="the same dtype"):
        jaxdrop.shake_shake(key, jnp.ones(3), jnp.ones(3, jnp.bfloat16))
    with pytest.raises(ValueError, match="shake_shake: batch_axis: axis 2"):
        jaxdrop.shake_shake(key, jnp.ones((2, 3)), jnp.ones((2, 3)), batch_axis=2)
