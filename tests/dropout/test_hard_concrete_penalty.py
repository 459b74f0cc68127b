"""The expected number of open gates, which hard concrete gates are charged for."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import jaxdrop


def test_the_penalty_sums_over_trees_in_single_precision():
    tree = {"a": jnp.zeros(1000, jnp.bfloat16), "b": [jnp.zeros((10, 10))]}
    total = jaxdrop.hard_concrete_penalty(tree)
    each = float(jaxdrop.hard_concrete_penalty(jnp.zeros(())))
    assert total.dtype == jnp.float32
    assert float(total) == pytest.approx(1100 * each, rel=1e-5)
    assert jaxdrop.hard_concrete_penalty({}) == 0


def test_it_is_the_probability_of_an_open_gate():
    """``sigmoid(log_alpha - 2/3 log(0.1 / 1.1))``, equation 12 of the paper."""
    log_alpha = np.linspace(-9, 9, 7)
    found = [jaxdrop.hard_concrete_penalty(jnp.float32(a)) for a in log_alpha]
    expected = special.expit(log_alpha - 2 / 3 * np.log(0.1 / 1.1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_gate_that_diverged_is_not_free():
    assert np.isnan(jaxdrop.hard_concrete_penalty({"a": jnp.array([0.0, jnp.nan])}))
    ends = jnp.array([-jnp.inf, jnp.inf])
    np.testing.assert_array_equal(jaxdrop.hard_concrete_penalty(ends), 1)
