"""Entropies in log space, where probabilities are 0, and means of many samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxdrop.metrics import _entropy


def test_the_entropy_is_that_of_scipy_where_classes_are_impossible():
    probs = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    with np.errstate(divide="ignore"):
        found = _entropy.entropy(jnp.asarray(np.log(probs), jnp.float32))
    np.testing.assert_allclose(found, special.entr(probs).sum(-1), rtol=1e-6)


def test_the_slope_is_finite_where_a_class_is_impossible():
    log_probs = jnp.log(jnp.array([0.25, 0.75, 0.0]))
    slope = jax.grad(_entropy.entropy)(log_probs)
    p = np.array([0.25, 0.75])
    np.testing.assert_allclose(slope[:2], -p * (np.log(p) + 1), rtol=1e-6)
    assert slope[2] == 0


def test_a_probability_that_is_not_known_leaves_the_entropy_unknown():
    found = _entropy.entropy(jnp.array([[0.0, jnp.nan], [0.0, -jnp.inf]]))
    np.testing.assert_array_equal(found, [np.nan, 0])


@pytest.mark.parametrize("offset", [0, -1000])
def test_means_of_probabilities_that_float32_cannot_hold(offset):
    rng = np.random.default_rng(0)
    logs = rng.normal(size=(7, 3))
    found = _entropy.log_mean_exp(jnp.asarray(logs + offset, jnp.float32))
    np.testing.assert_allclose(found - offset, np.log(np.exp(logs).mean(0)), atol=1e-4)


def test_a_class_that_no_sample_thinks_possible_stays_impossible():
    logs = jnp.array([[0.0, -jnp.inf], [-jnp.inf, -jnp.inf]])
    np.testing.assert_allclose(_entropy.log_mean_exp(logs), [-np.log(2), -np.inf])
