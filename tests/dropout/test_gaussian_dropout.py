"""What is particular to Gaussian dropout: noise with the variance of a mask."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from chance import assert_distribution


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_gaussian_noise_has_the_variance_of_a_mask(rate, key):
    y = jaxdrop.gaussian_dropout(key, jnp.ones(2**16), rate=rate)
    deviation = np.sqrt(rate / (1 - rate))
    assert_distribution(y, stats.norm(1, deviation).cdf)


def test_a_rate_of_1_has_an_infinite_variance(key):
    with pytest.raises(ValueError, match="rate must be below 1, where the variance"):
        jaxdrop.gaussian_dropout(key, jnp.ones(3), rate=1)
