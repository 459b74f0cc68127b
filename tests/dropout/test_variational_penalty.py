"""The price of precise weights: a divergence, by quadrature, and its sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxdrop
from chance import normal


def divergence_by_quadrature(alpha):
    """KL(N(1, alpha) || log-uniform) up to the constant that makes it 0 at infinity.

    It is ``E log|e| - log(alpha) / 2`` for e from N(1, alpha), and for a large alpha e
    is ``sqrt(alpha)`` times a standard normal, whose ``E log|z|`` is -0.635181.
    """
    density = stats.norm(1, np.sqrt(alpha)).pdf
    width = 12 * np.sqrt(alpha)
    points = [p for p in (0.0, 1.0) if 1 - width < p < 1 + width]
    integrand = lambda e: density(e) * np.log(abs(e)) if e else 0.0
    value, _ = integrate.quad(integrand, 1 - width, 1 + width, points=points, limit=400)
    return value - 0.5 * np.log(alpha) + 0.635181


@pytest.mark.parametrize("log_alpha", [-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0])
def test_the_penalty_is_the_divergence_from_a_log_uniform_prior(log_alpha):
    penalty = jaxdrop.variational_penalty(jnp.ones((1, 1)), jnp.full((1, 1), log_alpha))
    expected = divergence_by_quadrature(np.exp(log_alpha))
    assert float(penalty) == pytest.approx(expected, abs=0.02)
    assert penalty > 0


def test_the_penalty_sums_over_weights_and_trees():
    mean, log_variance = normal(10, 3), 2 * normal(10, 3, seed=1) - 1
    whole = jaxdrop.variational_penalty(mean, log_variance)
    parts = (
        {"a": mean[:4], "b": [mean[4:]]},
        {"a": log_variance[:4], "b": [log_variance[4:]]},
    )
    np.testing.assert_allclose(jaxdrop.variational_penalty(*parts), whole, rtol=1e-5)
    assert jaxdrop.variational_penalty({}, {}) == 0
    assert jaxdrop.variational_sparsity({}, {}) == 0


def test_the_penalty_pushes_noise_up():
    penalty = lambda log_variance: jaxdrop.variational_penalty(
        jnp.ones((5, 5)), log_variance
    )
    assert (jax.grad(penalty)(jnp.full((5, 5), -2.0)) < 0).all()
