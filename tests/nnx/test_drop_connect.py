"""DropConnect layers of NNX: masks of a batch or of examples, and expectations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.layers import drop_connect
from scipy import stats

import jaxdrop
from chance import assert_mean, normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_drop_connect_shares_a_mask_or_draws_one_for_each_example(key):
    ones = jnp.ones((6, 8))
    shared = drop_connect()(ones, rngs=key)
    assert (shared == shared[:1]).all()
    layer = drop_connect(per_example=True)
    y = layer(ones, rngs=key)
    assert len(np.unique(y, axis=0)) == 6
    kernels = jaxdrop.drop_connect(
        key, jnp.broadcast_to(layer.kernel[...], (6, 8, 4)), rate=0.4
    )
    np.testing.assert_allclose(y, kernels.sum(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("per_example", [False, True])
def test_the_mean_over_masks_is_the_plain_layer(key, x, per_example):
    layer = drop_connect(per_example=per_example)
    draw = lambda key: layer(x, rngs=key)
    draws = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(key, 4096)))
    plain = x @ layer.kernel[...] + layer.bias[...][None]
    assert_mean(draws, plain)
    rows = (draws - np.asarray(plain))[:, :, 0]
    correlation = np.corrcoef(rows[:, 0], rows[:, 1])[0, 1] * np.sqrt(4096)
    assert (np.abs(correlation) < 5) == per_example


def test_evaluation_is_the_plain_layer_and_neither_draws_nor_tiles(x):
    for per_example in (False, True):
        layer = drop_connect(per_example=per_example, activation=nnx.relu)
        layer.eval()
        np.testing.assert_array_equal(
            layer(x), nnx.relu(x @ layer.kernel[...] + layer.bias[...][None])
        )
        assert layer.rngs.count[...] == 0
        program = str(jax.make_jaxpr(layer)(x))
        assert "6,8,4" not in program


def test_moments_give_the_expected_activation_over_masks(key):
    """In closed form for a ReLU, and by drawing masks, where means are off by far."""
    rate, width = 0.5, 400
    layer = jaxdrop.nnx.DropConnectLinear(
        width, 5, rate, activation=nnx.relu, evaluation="moments", rngs=nnx.Rngs(0)
    )
    x = normal(3, width)
    kernel = np.asarray(layer.kernel[...], np.float64)
    mean = np.asarray(x, np.float64) @ kernel
    deviation = np.sqrt(rate / (1 - rate) * np.square(x) @ np.square(kernel))
    ratio = mean / deviation
    expected = mean * stats.norm.cdf(ratio) + deviation * stats.norm.pdf(ratio)
    layer.eval()
    evaluated = np.asarray(layer(x))
    np.testing.assert_allclose(evaluated, expected, atol=0.012 * deviation.max())
    layer.train()
    draw = jax.jit(jax.vmap(lambda key: layer(x, rngs=key)))
    draws = np.asarray(draw(jax.random.split(key, 2000)))
    error = 5 * draws.std(axis=0) / np.sqrt(2000) + 0.02 * deviation
    assert (np.abs(draws.mean(axis=0) - evaluated) < error).all()
    assert (np.abs(draws.mean(axis=0) - np.maximum(mean, 0)) > error).any()


def test_moments_are_exact_for_polynomials_and_at_the_limits(key, x):
    build = lambda activation: drop_connect(activation=activation, evaluation="moments")
    square = build(jnp.square)
    kernel, bias = np.asarray(square.kernel[...]), np.asarray(square.bias[...])
    mean = np.asarray(x) @ kernel + bias
    variance = 0.4 / 0.6 * np.square(x) @ np.square(kernel)
    run = lambda **knobs: square(x, deterministic=True, **knobs)
    np.testing.assert_allclose(run(), mean**2 + variance, rtol=1e-4)
    for rate in (0.0, jnp.float32(0.0), 1.0):
        np.testing.assert_allclose(run(rate=rate), mean**2, rtol=1e-5, atol=1e-6)
    assert np.isnan(run(rate=jnp.float32(1.5))).all()
    gradient = jax.grad(lambda x: square(x, deterministic=True).sum())
    assert np.isfinite(jax.jit(gradient)(np.zeros((2, 8), np.float32))).all()
    traced = jax.jit(lambda flag: square(x, deterministic=flag, rngs=key))
    np.testing.assert_allclose(traced(True), run(), rtol=1e-5)
    trained = square(x, rngs=key)
    np.testing.assert_allclose(traced(False), trained, rtol=1e-5, atol=1e-6)


def test_half_precision_is_computed_in_and_masks_stay(key, x):
    layer = drop_connect(dtype=jnp.bfloat16, activation=nnx.relu, evaluation="moments")
    wide = drop_connect(activation=nnx.relu, evaluation="moments")
    for deterministic in (False, True):
        y = layer(x, rngs=key, deterministic=deterministic)
        assert y.dtype == jnp.bfloat16
        expected = wide(x, rngs=key, deterministic=deterministic)
        np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=0.05)
