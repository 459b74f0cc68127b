"""What is drawn follows the law that is promised: values, moments, distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from chance import assert_distribution, assert_frequency, normal

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_gaussian_noise_has_the_variance_of_a_mask(rate, key):
    y = jaxdrop.gaussian_dropout(key, jnp.ones(2**16), rate=rate)
    deviation = np.sqrt(rate / (1 - rate))
    assert_distribution(y, stats.norm(1, deviation).cdf)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_alpha_dropout_is_the_published_affine_map(rate, key):
    """``a (x m + alpha' (1 - m)) + b``, which keeps mean 0 and variance 1."""
    x = normal(2**18)
    y = np.asarray(jaxdrop.alpha_dropout(key, x, rate=rate), np.float64)
    keep, saturation = 1 - rate, -SCALE * ALPHA
    a = (keep + saturation**2 * keep * (1 - keep)) ** -0.5
    b = -a * (1 - keep) * saturation
    kept = np.asarray(x, np.float64) * a + b
    dropped = np.isclose(y, a * saturation + b, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y[~dropped], kept[~dropped], rtol=1e-5, atol=1e-6)
    assert_frequency(dropped, rate)
    assert abs(y.mean()) < 5 / np.sqrt(x.size)
    error = np.sqrt(((y**2 - 1) ** 2).mean() / x.size)
    assert abs((y**2).mean() - 1) < 5 * error


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_denormals_are_divided_as_by_a_division(dtype, key):
    smallest = jnp.finfo(dtype).smallest_subnormal
    x = jnp.arange(1, 65).astype(dtype) * jnp.asarray(smallest, dtype)
    y = jaxdrop.dropout(key, x, rate=0.5)
    divided = (x.astype(jnp.float32) / jnp.float32(0.5)).astype(dtype)
    kept = np.asarray(jaxdrop.dropout(key, jnp.ones(64), rate=0.5) != 0)
    np.testing.assert_array_equal(y, np.where(kept, divided, 0))
    if dtype == jnp.float16:  # the others may be flushed, as they are in a division
        assert (np.asarray(y)[kept] > 0).all()


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg", "threefry2x32"])
@pytest.mark.parametrize("layout", [True, False])
def test_every_generator_drops_at_the_rate(impl, layout):
    with jax.threefry_partitionable(layout):
        for rate in (0.001, 0.3, 0.9):
            key = jax.random.key(7, impl=impl)
            y = jaxdrop.dropout(key, jnp.ones(2**18), rate=rate)
            assert_frequency(y == 0, rate)
