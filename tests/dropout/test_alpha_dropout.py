"""What is particular to alpha dropout: the published affine map."""

import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency, normal

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU


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
