"""Squares, moduli and norms: their range, and their gradients at 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import _norms

FLOATS = ["float16", "bfloat16", "float32"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_are_computed_in_single_precision_or_wider(dtype):
    assert _norms.widened(jnp.ones(2, dtype)).dtype == jnp.float32
    assert _norms.squared(jnp.ones(2, dtype)).dtype == jnp.float32
    assert _norms.scaled(jnp.ones(2, dtype), jnp.float32(3)).dtype == dtype


@pytest.mark.parametrize("size", [1e-38, 1e-20, 1.0, 1e20, 6e37])
def test_norms_of_any_size_are_finite_and_exact_to_rounding(size):
    leaf = np.float32(size) * np.float32([[3, 0], [4, 0]])
    found = _norms.norms(leaf, (0,))
    np.testing.assert_allclose(found, [[5 * np.float64(np.float32(size)), 0]], 1e-6)


def test_norms_beyond_the_range_are_in_two_factors():
    leaf = np.full((4, 1), 3e38, np.float32)
    unit, length = (np.float64(x).item() for x in _norms.split_norms(leaf, (0,)))
    assert np.frexp(unit)[0] == 0.5 and unit > 1
    np.testing.assert_allclose(unit * length, 6e38, 1e-6)


@pytest.mark.parametrize("function", [_norms.moduli, lambda x: _norms.norms(x, (0,))])
def test_the_gradient_at_0_is_0(function):
    total = lambda x: function(x).sum()
    np.testing.assert_array_equal(jax.grad(total)(jnp.zeros(3)), np.zeros(3))


def test_moduli_and_squares_of_complex_numbers_are_real():
    z = jnp.array([3 + 4j, 0])
    np.testing.assert_allclose(_norms.moduli(z), [5, 0], 1e-6)
    np.testing.assert_allclose(_norms.squared(z), [25, 0], 1e-6)


def test_division_by_a_power_of_two_is_exact():
    values = np.float32([1e-45, 1e-38, 0.7, 1, 5, 3e38])
    found = np.asarray(_norms.power_of_two(values))
    assert (np.frexp(found)[0] == 0.5).all()
    assert (np.isfinite(found) & np.isfinite(1 / found)).all()
    inside = values > 1e-37
    share = values[inside] / found[inside]
    assert ((share >= 1) & (share < 4)).all()
    np.testing.assert_array_equal(share * found[inside], values[inside])
