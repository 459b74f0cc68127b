"""Applying masks: one division, one rounding, and selection in place of products."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from chance import normal
from jaxdrop import masks


def test_kept_entries_are_divided_once_and_rounded_once(key):
    x = normal(500)
    mask = jnp.ones((500,), bool)
    np.testing.assert_array_equal(
        masks.apply(x, mask, keep=0.7), x / jnp.float32(np.float32(0.7))
    )
    low = x.astype(jnp.bfloat16)
    exact = (low.astype(jnp.float32) / jnp.float32(0.9)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(masks.apply(low, mask, keep=0.9), exact)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.random.default_rng(0).normal(size=50))
        np.testing.assert_array_equal(
            masks.apply(wide, jnp.ones(50, bool), keep=0.7), wide / jnp.float64(0.7)
        )


def test_large_float16_overflows_only_where_it_is_kept():
    x = jnp.full((2,), 6e4, jnp.float16)
    y = masks.apply(x, jnp.array([True, False]), keep=0.5)
    assert np.isinf(y[0]) and y[1] == 0


def test_complex_entries_are_dropped_as_a_whole(key):
    x = jax.random.normal(key, (200,), jnp.complex64)
    y = jaxdrop.dropout(key, x, rate=0.5)
    np.testing.assert_array_equal(y.real == 0, y.imag == 0)
    kept = y != 0
    np.testing.assert_allclose(y[kept], 2 * x[kept], rtol=1e-6)


def test_what_is_dropped_is_zero_whatever_it_was():
    """One operation at a time: XLA makes a selection of a product with a mask."""
    x, mask = jnp.array([jnp.inf, jnp.nan, 1.0]), jnp.array([False, False, True])
    np.testing.assert_array_equal(masks.apply(x, mask, keep=0.5), [0, 0, 2])
    _, pull = jax.vjp(lambda x: masks.apply(x, mask, keep=0.5), x)
    np.testing.assert_array_equal(pull(x)[0], [0, 0, 2])
