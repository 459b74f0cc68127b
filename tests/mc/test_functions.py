"""Functions that are drawn: one for all calls, and the joint law of their outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from chance import assert_mean, normal
from jaxdrop import mc

SHARED = {"draws": "shared", "keep_samples": True}


def test_samples_are_those_of_predict(net, key):
    for chunk_size in (1, 2, 5):
        drawn = at_once(mc.samples)(
            net.apply, key, net.params, net.x, num_samples=5, chunk_size=chunk_size
        )
        np.testing.assert_array_equal(drawn, net.samples(key, 5))


def test_a_function_draw_is_one_function(net, key):
    f, x = jax.jit(mc.function_draw(net.apply, key)), np.asarray(net.x)
    whole = np.asarray(f(net.params, net.x))
    np.testing.assert_array_equal(f(net.params, net.x), whole)
    np.testing.assert_array_equal(f(net.params, x[2:4]), whole[2:4])
    doubled = f(jax.tree.map(lambda w: 2 * w, net.params), net.x)
    np.testing.assert_allclose(doubled, 4 * whole, rtol=1e-6)


def test_sample_t_is_the_function_of_its_key(net, key):
    drawn = at_once(mc.predict)(
        net.apply, key, net.params, net.x, num_samples=3, chunk_size=2, **SHARED
    ).samples
    one = jax.jit(lambda k: mc.function_draw(net.apply, k)(net.params, net.x))
    for t, sample in enumerate(np.asarray(drawn)):
        np.testing.assert_array_equal(one(jax.random.fold_in(key, t)), sample)


def test_shared_and_independent_draws_have_one_distribution(key):
    def apply(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.3, x.shape), x, 0).sum(-1)

    x = jnp.ones((2, 3))
    for draws in ("shared", "independent"):
        drawn = np.asarray(
            at_once(mc.samples)(
                apply, key, x, num_samples=2000, chunk_size=2000, draws=draws
            )
        )
        assert_mean(drawn, 0.9)
        product = (drawn[:, 0] - 0.9) * (drawn[:, 1] - 0.9)
        assert_mean(product, 3 * 0.3 * 0.7 if draws == "shared" else 0.0)


def test_the_joint_covariance_of_a_linear_model_is_the_closed_form(key):
    x = normal(5, 3)
    rate = 0.4

    def apply(key, x):  # dropout on the inputs, then a sum
        keep = jax.random.bernoulli(key, 1 - rate, x.shape)
        return jnp.where(keep, x / (1 - rate), 0).sum(-1, keepdims=True)

    count = 4096
    run = jax.jit(lambda: mc.joint(apply, key, x, num_samples=count, chunk_size=512))
    mean, cov = run()
    expected = rate / (1 - rate) * np.asarray(x) @ np.asarray(x).T
    assert mean.shape == (5, 1) and cov.shape == (5, 5)
    drawn = at_once(mc.samples)(
        apply, key, x, num_samples=count, chunk_size=count, draws="shared"
    )
    drawn = np.asarray(drawn, np.float64)[..., 0]
    centred = drawn - np.asarray(x).sum(-1)
    assert_mean(centred[:, :, None] * centred[:, None, :], expected)
    np.testing.assert_allclose(cov, np.cov(drawn.T), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean[:, 0], drawn.mean(0), atol=1e-5)
    assert np.linalg.eigvalsh(cov).min() > -1e-6 * np.trace(cov)


def test_joint_takes_one_output(net, key):
    with pytest.raises(ValueError, match="must return one array, got 2"):
        mc.joint(
            lambda key, x: (x * jax.random.normal(key), x), key, net.x, num_samples=2
        )
