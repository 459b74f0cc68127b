"""What is particular to concrete dropout: a rate with a gradient, and its penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def published_factor(logit_rate, uniform, temperature):
    """The factor ``(1 - z) / (1 - p)`` as published, in float64."""
    rate = 1 / (1 + np.exp(-np.float64(logit_rate)))
    u = np.asarray(uniform, np.float64)
    logit = np.log(rate) - np.log(1 - rate) + np.log(u) - np.log(1 - u)
    z = 1 / (1 + np.exp(-logit / temperature))
    return (1 - z) / (1 - rate)


@pytest.mark.parametrize("logit_rate, temperature", [(-2.2, 0.1), (0.7, 2 / 3)])
def test_it_computes_the_published_formula(key, logit_rate, temperature):
    x = jax.random.normal(key, (40, 50))
    y = jaxdrop.concrete_dropout(key, x, logit_rate, temperature=temperature)
    uniform = jaxdrop.prng.uniform(key, x.shape) + 2**-24
    assert (uniform > 0).all() and (uniform < 1).all()
    expected = np.asarray(x) * published_factor(logit_rate, uniform, temperature)
    np.testing.assert_allclose(y, expected, rtol=2e-4, atol=1e-6)


def test_at_a_low_temperature_it_is_dropout_with_the_same_key(key):
    x = jax.random.normal(key, (40, 50))
    logit_rate = np.log(0.3 / 0.7)
    cold = jaxdrop.concrete_dropout(key, x, logit_rate, temperature=1e-7)
    hard = jaxdrop.dropout(key, x, rate=0.3)
    assert 400 < int((hard == 0).sum()) < 800
    np.testing.assert_allclose(cold, hard, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_the_rate_is_that_of_finite_differences(key):
    x = np.linspace(0.5, 2, 50)
    with jax.enable_x64(True):
        loss = lambda logit: jaxdrop.concrete_dropout(key, x, logit).sum()
        for logit in (-2.0, 0.0, 1.5):
            step = 1e-5
            difference = (loss(logit + step) - loss(logit - step)) / (2 * step)
            np.testing.assert_allclose(jax.grad(loss)(logit), difference, rtol=1e-6)


@pytest.mark.parametrize("logit_rate", [-1000.0, -100.0, 100.0, 1000.0])
def test_extreme_rates_are_finite_in_value_and_gradient(key, logit_rate):
    x = jnp.ones(50)
    loss = lambda x, logit: jaxdrop.concrete_dropout(key, x, logit).sum()
    value, gradients = jax.value_and_grad(loss, (0, 1))(x, logit_rate)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    if logit_rate < 0:
        np.testing.assert_array_equal(
            jaxdrop.concrete_dropout(key, x, logit_rate), jnp.ones(50)
        )


def test_channels_share_a_draw_and_features_may_have_rates(key):
    x = jnp.ones((3, 4, 5, 6))
    y = jaxdrop.concrete_dropout(key, x, 0.0, temperature=2 / 3, broadcast_dims=(1, 2))
    assert (y == y[:, :1, :1]).all() and len(np.unique(y)) == 3 * 6
    rates = jnp.array([-30.0, 0.0, 5.0])
    z = jaxdrop.concrete_dropout(key, jnp.ones((2000, 3)), rates)
    assert (z[:, 0] == 1).all()
    assert (z[:, 1] < 0.5).mean() < 0.6 < 0.9 < (z[:, 2] < 0.5).mean()


def test_half_precision_does_not_saturate_the_logits(key):
    x = jnp.ones((40, 50))
    wide = jaxdrop.concrete_dropout(key, x, -2.0)
    half = jaxdrop.concrete_dropout(key, x.astype(jnp.bfloat16), jnp.bfloat16(-2.0))
    np.testing.assert_array_equal(half, wide.astype(jnp.bfloat16))


def test_evaluation_is_the_identity_traced_or_not(key):
    x = jax.random.normal(key, (4, 5))
    assert jaxdrop.concrete_dropout(None, x, 0.0, deterministic=True) is x
    run = jax.jit(
        lambda flag: jaxdrop.concrete_dropout(key, x, 0.0, deterministic=flag)
    )
    np.testing.assert_array_equal(run(True), x)
    np.testing.assert_allclose(run(False), jaxdrop.concrete_dropout(key, x, 0.0))


def test_rejects_what_is_no_temperature_rate_or_key(key):
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        jaxdrop.concrete_dropout(key, jnp.ones(3), 0.0, temperature=0)
    with pytest.raises(ValueError, match="logit_rate has shape"):
        jaxdrop.concrete_dropout(key, jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match="concrete_dropout: key must be a PRNG key"):
        jaxdrop.concrete_dropout(None, jnp.ones(3), 0.0)
    with pytest.raises(TypeError, match="floating"):
        jaxdrop.concrete_dropout(key, jnp.ones(3, jnp.int32), 0.0)


def test_infinite_logits_are_rates_of_0_and_1(key):
    x = jnp.ones((3, 4))
    logits = jnp.array([-jnp.inf, jnp.inf, 0.0, -jnp.inf])
    run = lambda x, logits: jaxdrop.concrete_dropout(key, x, logits)
    y = run(x, logits)
    np.testing.assert_array_equal(y[:, :2], [[1.0, 0.0]] * 3)
    slopes = jax.grad(lambda *args: run(*args).sum(), argnums=(0, 1))(x, logits)
    np.testing.assert_array_equal(slopes[0], y)
    np.testing.assert_array_equal(slopes[1][:2], 0)
    assert np.isfinite(slopes[1]).all()
    assert np.isnan(run(x, jnp.nan)).all()
    bad = jnp.array([[jnp.inf, jnp.nan]])
    value, slopes = jax.value_and_grad(lambda x: run(x, jnp.inf).sum())(bad)
    assert value == 0 and not slopes.any()


def test_a_temperature_may_be_an_integer_array(key):
    x, temperature = jnp.ones((8, 4)), jnp.int32(1)
    drop = lambda t: jaxdrop.concrete_dropout(key, x, 0.0, temperature=t)
    np.testing.assert_array_equal(drop(temperature), drop(1.0))
