"""What is particular to the penalty of concrete dropout: weights against entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import normal

COEFFICIENTS = {"weight_regularizer": 1e-3, "dropout_regularizer": 2e-2}


def published_penalty(rate, kernel, *, num_inputs):
    """``wr |W|^2 / (1 - p) + dr D (p log p + (1 - p) log(1 - p))``, in float64."""
    p, w = np.float64(rate), np.asarray(kernel, np.float64)
    negative_entropy = p * np.log(p) + (1 - p) * np.log(1 - p)
    return 1e-3 * (w**2).sum() / (1 - p) + 2e-2 * num_inputs * negative_entropy


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
def test_it_computes_the_published_formula(key, rate):
    kernel = normal(20, 7)
    logit = np.log(rate / (1 - rate))
    penalty = jaxdrop.concrete_penalty(logit, kernel, **COEFFICIENTS)
    expected = published_penalty(rate, kernel, num_inputs=20)
    np.testing.assert_allclose(penalty, expected, rtol=1e-4)


def test_of_a_tree_only_kernels_count(key):
    kernel = normal(3, 3, 8, 4)
    params = {"kernel": kernel, "bias": jnp.ones(4), "steps": jnp.ones((2, 2), int)}
    penalty = jaxdrop.concrete_penalty(-1.0, params, **COEFFICIENTS)
    alone = jaxdrop.concrete_penalty(-1.0, kernel, **COEFFICIENTS, num_inputs=8)
    np.testing.assert_array_equal(penalty, alone)
    two = {"first": kernel, "second": kernel}
    both = jaxdrop.concrete_penalty(-1.0, two, **COEFFICIENTS, num_inputs=8)
    assert both > alone
    with pytest.raises(ValueError, match="num_inputs is needed"):
        jaxdrop.concrete_penalty(-1.0, two, **COEFFICIENTS)


@pytest.mark.parametrize("logit_rate", [-200.0, 50.0])
def test_it_is_finite_at_extreme_rates(logit_rate):
    of = lambda logit: jaxdrop.concrete_penalty(logit, jnp.ones((4, 2)), **COEFFICIENTS)
    value, gradient = jax.value_and_grad(of)(logit_rate)
    assert np.isfinite(value) and np.isfinite(gradient)


def test_a_rate_of_0_costs_the_weights_alone_and_teaches_nothing():
    of = lambda logit: jaxdrop.concrete_penalty(logit, jnp.ones((4, 2)), **COEFFICIENTS)
    value, gradient = jax.value_and_grad(of)(-jnp.inf)
    np.testing.assert_allclose(value, of(-100.0), rtol=1e-6)
    assert gradient == 0 and np.isnan(of(jnp.nan))


def test_half_precision_weights_are_summed_in_single():
    kernel = jnp.ones((300, 400), jnp.bfloat16)
    penalty = jaxdrop.concrete_penalty(
        0.0, kernel, weight_regularizer=1.0, dropout_regularizer=0.0
    )
    assert penalty.dtype == jnp.float32 and penalty == 240_000


def test_the_minimum_over_the_rate_balances_both_terms():
    """At the best rate ``wr |W|^2 / (1 - p)^2`` equals ``dr D log((1 - p) / p)``."""
    kernel = jnp.full((10, 10), 0.3)
    of = lambda logit: jaxdrop.concrete_penalty(logit, kernel, **COEFFICIENTS)
    logit = jnp.float32(0.0)
    descend = jax.jit(lambda logit: logit - 5 * jax.grad(of)(logit))
    for _ in range(500):
        logit = descend(logit)
    p = float(jax.nn.sigmoid(logit))
    of_weights = 1e-3 * float((kernel**2).sum()) / (1 - p) ** 2
    assert of_weights == pytest.approx(2e-2 * 10 * np.log((1 - p) / p), rel=1e-3)


def test_rejects_many_rates():
    with pytest.raises(ValueError, match="logit_rate must be a scalar"):
        jaxdrop.concrete_penalty(jnp.zeros(3), jnp.ones((3, 2)), **COEFFICIENTS)


def test_leaves_of_different_widths_are_summed_in_the_widest():
    with jax.enable_x64(True):
        kernels = {"a": jnp.ones((2, 3), jnp.float32), "b": jnp.ones((2, 3))}
        knobs = {"weight_regularizer": 1.0, "dropout_regularizer": 0.0}
        penalty = jaxdrop.concrete_penalty(0.0, kernels, num_inputs=2, **knobs)
        assert penalty.dtype == jnp.float64 and float(penalty) == 24.0


@pytest.mark.parametrize("rate", [[[0.5, 0.5], [1]], np.zeros(2), [0.5, 1.0]])
def test_several_logits_are_refused_by_name(rate):
    knobs = {"weight_regularizer": 1.0, "dropout_regularizer": 0.0}
    with pytest.raises((TypeError, ValueError), match="logit_rate must be a"):
        jaxdrop.concrete_penalty(rate, jnp.ones((2, 3)), **knobs)
