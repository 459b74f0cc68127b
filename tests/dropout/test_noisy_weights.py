"""Weights with learned noise: their log alpha, pruning, and drawn outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop._dropout import _noisy_weights


@pytest.mark.parametrize("layer", ["VariationalLinear", "VariationalConv"])
def test_half_precision_does_not_overflow_where_inputs_are_zeros(layer, key):
    nnx = pytest.importorskip("flax.nnx")
    sizes = (3, 4) if layer == "VariationalLinear" else (3, 4, (3,))
    module = getattr(jaxdrop.nnx, layer)(*sizes, dtype=jnp.float16, rngs=nnx.Rngs(0))
    x = np.zeros((1, 6, 3), np.float16)
    loss = lambda m: m(x, rngs=key).astype(jnp.float32).sum()
    slopes = nnx.jit(nnx.grad(loss))(module)
    for slope in jax.tree.leaves(slopes):
        assert np.isfinite(slope).all()


def test_the_noise_of_a_weight_of_zero_is_finite_and_large():
    mean = jnp.array([0.0, 1.0, -2.0, 1e-30])
    found = _noisy_weights.log_alpha(mean, jnp.full(4, -3.0))
    assert np.isfinite(found).all() and (found[jnp.array([0, 3])] > 15).all()
    np.testing.assert_allclose(found[1:3], [-3, -3 - 2 * np.log(2)], rtol=1e-5)
    assert _noisy_weights.log_alpha(mean.astype(jnp.bfloat16), mean).dtype == "float32"


def test_weights_of_much_noise_are_pruned_and_an_unknown_threshold_spoils_all():
    mean, log_variance = jnp.array([2.0, 0.1, jnp.nan]), jnp.full(3, -1.0)
    prune = lambda t: _noisy_weights.prune(mean, log_variance, threshold=t)
    np.testing.assert_array_equal(prune(3.0), [2.0, 0.0, np.nan])
    np.testing.assert_array_equal(prune(-jnp.inf)[:2], [0, 0])
    assert np.isnan(prune(jnp.nan)).all()


def test_outputs_are_drawn_from_their_means_and_variances(key):
    mean, variance = np.float32([1, -2, 3]), np.float32([4, 0.25, -1e-3])
    found = jax.jit(_noisy_weights.draw_output)(key, mean, variance)
    noise = np.asarray(jaxdrop.prng.normal(key, (3,)))
    expected = mean + np.float32([2, 0.5, 0]) * noise  # no variance below 0
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_another_product_has_the_moments_of_its_weights(key):
    x, mean = np.ones((2, 3), np.float32), np.full((3, 4), 0.5, np.float32)
    log_variance = np.zeros((3, 4), np.float32)
    product = lambda x, w, dtype=jnp.float32: x.astype(dtype) @ w.astype(dtype)
    run = lambda key, flag: _noisy_weights.variational_conv(
        key, x, mean, log_variance, product=product, threshold=3.0, deterministic=flag
    )
    expected = 1.5 + np.sqrt(3) * np.asarray(jaxdrop.prng.normal(key, (2, 4)))
    drawn = jax.jit(lambda key: run(key, False))(key)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6)
    evaluated = jax.jit(lambda: run(None, True))()
    np.testing.assert_array_equal(evaluated, np.full((2, 4), 1.5))
    np.testing.assert_array_equal(jax.jit(run)(key, np.True_), evaluated)
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        run(None, False)
