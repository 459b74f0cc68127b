"""Gaussian noise: its distribution."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from chance import assert_distribution, assert_mean, normal
from jaxdrop import inputs


@pytest.mark.parametrize("stddev", [0.1, 3.0])
def test_gaussian_noise_is_normal(key, stddev):
    x = normal(200, 500, seed=1)
    noise = inputs.gaussian_noise(key, x, stddev=stddev) - x
    assert_distribution(noise / stddev, stats.norm.cdf)
    assert_mean(np.asarray(noise).ravel() ** 2, stddev**2)


def test_gaussian_noise_refuses_complex_data(key):
    with pytest.raises(TypeError, match=r"x must be real.* got complex64"):
        inputs.gaussian_noise(key, jnp.ones(3, jnp.complex64), stddev=0.1)
