"""Alpha dropout keeps a deep SELU network normalized; ordinary dropout does not."""

import jax
import numpy as np

import jaxdrop
from chance import normal

LAYERS, WIDTH, BATCH = 16, 256, 256


def moments(key, drop):
    """The mean and variance of the activations after each layer."""

    def layer(h, key):
        weights, noise = jax.random.split(key)
        kernel = jax.random.normal(weights, (WIDTH, WIDTH)) / np.sqrt(WIDTH)
        h = drop(noise, jax.nn.selu(h @ kernel), rate=0.1)
        return h, (h.mean(), h.var())

    x = normal(BATCH, WIDTH)
    return jax.jit(lambda x: jax.lax.scan(layer, x, jax.random.split(key, LAYERS))[1])(
        x
    )


def test_activations_keep_their_mean_and_variance_in_all_layers(key):
    means, variances = moments(key, jaxdrop.alpha_dropout)
    assert np.abs(means).max() < 0.1
    assert np.abs(np.asarray(variances) - 1).max() < 0.15


def test_with_ordinary_dropout_they_do_not(key):
    means, variances = moments(key, jaxdrop.dropout)
    off = (np.abs(means) >= 0.1) | (np.abs(np.asarray(variances) - 1) >= 0.15)
    assert off.mean() > 0.9
