"""Noisy convolutions of NNX: Flax's with other weights, and the moments of these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.layers import CONVOLUTION

import jaxdrop
from chance import assert_mean, normal


@pytest.fixture
def images():
    return normal(3, 9, 7, 4)


def test_drop_connect_convolutions_agree_with_flax_and_each_other(images, key):
    layer = jaxdrop.nnx.DropConnectConv(
        4, 6, (3, 2), 0.4, **CONVOLUTION, rngs=nnx.Rngs(1)
    )
    params = {"kernel": layer.kernel[...], "bias": jnp.arange(6.0)}
    layer.bias[...] = params["bias"]
    dense = jaxdrop.linen.DropConnectConv(6, (3, 2), 0.4, **CONVOLUTION)
    shapes = jax.tree.map(jnp.shape, dense.init(key, images, True)["params"])
    assert shapes == jax.tree.map(jnp.shape, params)
    plain = nn.Conv(6, (3, 2), **CONVOLUTION)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for mode in (True, False):
        kernel = jaxdrop.drop_connect(
            key, params["kernel"], rate=0.4, deterministic=mode
        )
        expected = plain.apply({"params": {**params, "kernel": kernel}}, images)
        close(layer(images, rngs=key, deterministic=mode), expected)
        close(dense.apply({"params": params}, images, mode, key), expected)


def test_convolutions_draw_for_each_example_and_match_moments(images, key):
    layer = jaxdrop.nnx.DropConnectConv(
        4,
        6,
        (3, 2),
        0.4,
        activation=jnp.square,
        per_example=True,
        evaluation="moments",
        rngs=nnx.Rngs(1),
    )
    one = np.asarray(images)[:1]
    y = np.asarray(jax.jit(lambda x: layer(x, rngs=key))(np.tile(one, (3, 1, 1, 1))))
    assert (y[0] != y[1]).any() and (y[1] != y[2]).any()
    draw = jax.jit(jax.vmap(lambda key: layer(one, rngs=key)))
    draws = draw(jax.random.split(key, 4096))
    assert_mean(draws, jax.jit(lambda x: layer(x, deterministic=True))(one))


def test_variational_convolutions_have_the_moments_of_their_weights(images, key):
    layer = jaxdrop.nnx.VariationalConv(
        4,
        6,
        (3, 2),
        log_variance_init=-2.0,
        threshold=0.5,
        **CONVOLUTION,
        rngs=nnx.Rngs(1),
    )
    mean, log_variance = layer.kernel[...], layer.kernel_log_variance[...]
    plain = nn.Conv(6, (3, 2), use_bias=False, **CONVOLUTION)
    convolve = jax.jit(lambda x, kernel: plain.apply({"params": {"kernel": kernel}}, x))
    draw = jax.jit(jax.vmap(lambda key: layer(images, rngs=key)))
    draws = draw(jax.random.split(key, 2048))
    center = convolve(images, mean)
    assert_mean(draws, center)
    squares = (np.asarray(draws) - np.asarray(center)) ** 2
    variance = convolve(np.square(images), np.exp(log_variance))
    assert_mean(squares, variance, sigmas=6)
    alpha = np.asarray(log_variance) - 2 * np.log(np.abs(mean))
    pruned = convolve(images, np.where(alpha < 0.5, mean, np.float32(0)))
    evaluated = layer(images, deterministic=True)
    np.testing.assert_allclose(evaluated, pruned, rtol=1e-4, atol=1e-5)
    assert float(layer.sparsity()) == pytest.approx(float((alpha >= 0.5).mean()))
    params = {
        "kernel": mean,
        "kernel_log_variance": log_variance,
        "bias": layer.bias[...],
    }
    dense = jaxdrop.linen.VariationalConv(6, (3, 2), threshold=0.5, **CONVOLUTION)
    apply = jax.jit(lambda v: dense.apply(v, images, False, key, mutable="penalties"))
    y, sown = apply({"params": params})
    np.testing.assert_allclose(y, layer(images, rngs=key), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jax.tree.leaves(sown)[0], layer.penalty())
