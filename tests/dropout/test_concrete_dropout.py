"""What is particular to concrete dropout: a rate with a gradient, and its penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import normal


def published_factor(logit_rate, uniform, temperature):
    """The factor ``(1 - z) / (1 - p)`` as published, in float64."""
    rate = 1 / (1 + np.exp(-np.float64(logit_rate)))
    u = np.asarray(uniform, np.float64)
    logit = np.log(rate) - np.log(1 - rate) + np.log(u) - np.log(1 - u)
    z = 1 / (1 + np.exp(-logit / temperature))
    return (1 - z) / (1 - rate)


@pytest.mark.parametrize("logit_rate, temperature", [(-2.2, 0.1), (0.7, 2 / 3)])
def test_it_computes_the_published_formula(key, logit_rate, temperature):
    x = normal(40, 50)
    y = jaxdrop.concrete_dropout(key, x, logit_rate, temperature=temperature)
    uniform = np.asarray(jaxdrop.prng.uniform(key, x.shape)) + np.float32(2**-24)
    assert (uniform > 0).all() and (uniform < 1).all()
    expected = np.asarray(x) * published_factor(logit_rate, uniform, temperature)
    np.testing.assert_allclose(y, expected, rtol=2e-4, atol=1e-6)


def test_at_a_low_temperature_it_is_dropout_with_the_same_key(key):
    x = normal(40, 50)
    logit_rate = np.log(0.3 / 0.7)
    cold = jaxdrop.concrete_dropout(key, x, logit_rate, temperature=1e-7)
    hard = jaxdrop.dropout(key, x, rate=0.3)
    assert 400 < int((hard == 0).sum()) < 800
    np.testing.assert_allclose(cold, hard, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_the_rate_is_that_of_finite_differences(key):
    x = np.linspace(0.5, 2, 50)
    with jax.enable_x64(True):
        loss = jax.jit(lambda logit: jaxdrop.concrete_dropout(key, x, logit).sum())
        slope = jax.jit(jax.grad(loss))
        for logit in (-2.0, 0.0, 1.5):
            step = 1e-5
            ends = float(loss(logit + step)), float(loss(logit - step))
            difference = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(slope(logit), difference, rtol=1e-6)


@pytest.mark.parametrize("logit_rate", [-1000.0, -100.0, 100.0, 1000.0])
def test_extreme_rates_are_finite_in_value_and_gradient(key, logit_rate):
    x = jnp.ones(50)
    loss = lambda x, logit: jaxdrop.concrete_dropout(key, x, logit).sum()
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, logit_rate)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    if logit_rate < 0:
        np.testing.assert_array_equal(
            jaxdrop.concrete_dropout(key, x, logit_rate), jnp.ones(50)
        )


def test_channels_share_a_draw_and_features_may_have_rates(key):
    x = np.ones((3, 4, 5, 6), np.float32)
    y = jaxdrop.concrete_dropout(key, x, 0.0, temperature=2 / 3, broadcast_dims=(1, 2))
    y = np.asarray(y)
    assert (y == y[:, :1, :1]).all() and len(np.unique(y)) == 3 * 6
    rates = np.float32([-30, 0, 5])
    z = jaxdrop.concrete_dropout(key, np.ones((2000, 3), np.float32), rates)
    z = np.asarray(z)
    assert (z[:, 0] == 1).all()
    assert (z[:, 1] < 0.5).mean() < 0.6 < 0.9 < (z[:, 2] < 0.5).mean()


def test_half_precision_does_not_saturate_the_logits(key):
    x = jnp.ones((40, 50))
    wide = jaxdrop.concrete_dropout(key, x, -2.0)
    half = jaxdrop.concrete_dropout(key, x.astype(jnp.bfloat16), jnp.bfloat16(-2.0))
    np.testing.assert_array_equal(half, wide.astype(jnp.bfloat16))


def test_evaluation_is_the_identity_traced_or_not(key):
    x = normal(4, 5)
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
    x = np.ones((3, 4), np.float32)
    logits = np.float32([-np.inf, np.inf, 0, -np.inf])
    run = lambda x, logits: jaxdrop.concrete_dropout(key, x, logits)
    y = np.asarray(run(x, logits))
    np.testing.assert_array_equal(y[:, :2], [[1.0, 0.0]] * 3)
    slopes = jax.jit(jax.grad(lambda *x: run(*x).sum(), argnums=(0, 1)))(x, logits)
    slopes = [*map(np.asarray, slopes)]
    np.testing.assert_array_equal(slopes[0], y)
    np.testing.assert_array_equal(slopes[1][:2], 0)
    assert np.isfinite(slopes[1]).all()
    assert np.isnan(run(x, jnp.nan)).all()
    bad = np.float32([[np.inf, np.nan]])
    loss = lambda x: run(x, jnp.inf).sum()
    value, slopes = jax.jit(jax.value_and_grad(loss))(bad)
    assert value == 0 and not np.any(slopes)


def test_a_temperature_may_be_an_integer_array(key):
    x, temperature = jnp.ones((8, 4)), jnp.int32(1)
    drop = lambda t: jaxdrop.concrete_dropout(key, x, 0.0, temperature=t)
    np.testing.assert_array_equal(drop(temperature), drop(1.0))
