"""What is particular to alpha dropout of features: channels share decisions."""

import jax.numpy as jnp
import numpy as np

import jaxdrop
from chance import assert_frequency

RATE = 0.3


def test_channels_of_alpha_dropout_share_their_decisions(key):
    x = jnp.linspace(-1.0, 1.0, 40 * 6 * 60).reshape(40, 6, 60)
    y = jaxdrop.feature_alpha_dropout(key, x, rate=RATE, num_spatial_dims=1)
    constant = np.asarray((y == y[:, :1]).all(axis=1))  # x itself is constant nowhere
    assert_frequency(constant, RATE)
    slopes = np.asarray((y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0]))
    np.testing.assert_allclose(slopes[~constant], slopes[~constant][0], rtol=1e-3)
