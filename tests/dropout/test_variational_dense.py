"""What is particular to sparse variational dropout: noise, its price, and pruning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from chance import assert_distribution, assert_mean, assert_uncorrelated


@pytest.fixture
def layer(key):
    x, mean = jax.random.normal(key, (6, 10)), jax.random.normal(key, (10, 3))
    log_variance = jax.random.uniform(key, (10, 3), minval=-4.0, maxval=2.0)
    return x, mean, log_variance


def test_outputs_have_the_moments_of_a_product_with_drawn_weights(key, layer):
    x, mean, log_variance = layer
    keys = jax.random.split(key, 8192)
    draw = jax.jit(lambda key: jaxdrop.variational_dense(key, x, mean, log_variance))
    outputs = np.asarray(jax.vmap(draw)(keys))
    center = np.asarray(x @ mean)
    variance = np.square(x) @ np.exp(log_variance)
    assert_mean(outputs, center)
    assert_mean((outputs - center) ** 2, variance)
    standard = (outputs - center) / np.sqrt(variance)
    assert_distribution(standard[:, 0, 0], stats.norm.cdf)
    assert_uncorrelated(standard[:, 0], standard[:, 1])  # examples
    assert_uncorrelated(standard[..., 0], standard[..., 1])  # outputs


def test_evaluation_prunes_what_is_noise(layer):
    x, mean, log_variance = layer
    alpha = np.asarray(log_variance) - 2 * np.log(np.abs(mean))
    assert 0 < (alpha >= 1.0).sum() < alpha.size
    pruned = np.asarray(x) @ np.where(alpha < 1.0, mean, 0)
    evaluate = lambda **knobs: jaxdrop.variational_dense(
        None, x, mean, log_variance, deterministic=True, **knobs
    )
    np.testing.assert_allclose(evaluate(threshold=1.0), pruned, rtol=1e-5, atol=1e-6)
    sparsity = jaxdrop.variational_sparsity(mean, log_variance, threshold=1.0)
    assert float(sparsity) == pytest.approx((alpha >= 1.0).mean())
    at_three = np.asarray(x) @ np.where(alpha < 3.0, mean, 0)
    np.testing.assert_allclose(evaluate(), at_three, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", ["mean", "log_variance"])
def test_nan_is_no_reason_to_prune(layer, bad):
    """A diverged weight shows in evaluation; a noise of NaN is not known to be high."""
    x, mean, log_variance = layer
    weights = {"mean": mean, "log_variance": log_variance}
    weights[bad] = weights[bad].at[0, 0].set(jnp.nan)
    y = jaxdrop.variational_dense(None, x, *weights.values(), deterministic=True)
    assert np.isnan(y[:, 0]).all() == (bad == "mean")
    assert np.isfinite(y[:, 1:]).all()


def test_a_traced_flag_selects_between_both(key, layer):
    run = jax.jit(
        lambda flag: jaxdrop.variational_dense(key, *layer, deterministic=flag)
    )
    trained = jaxdrop.variational_dense(key, *layer)
    evaluated = jaxdrop.variational_dense(None, *layer, deterministic=True)
    np.testing.assert_allclose(run(False), trained, rtol=1e-5)
    np.testing.assert_allclose(run(True), evaluated, rtol=1e-5)


def test_training_multiplies_only_twice(key):
    """A Python flag does not pay for the product of the other mode."""
    x, mean, log_variance = jnp.ones((64, 64)), jnp.ones((64, 64)), jnp.ones((64, 64))
    run = jax.jit(lambda key: jaxdrop.variational_dense(key, x, mean, log_variance))
    products = str(jax.make_jaxpr(run)(key)).count("dot_general")
    assert products == 2


def test_gradients_are_finite_where_weights_or_inputs_are_zero(key):
    loss = lambda *arrays: jaxdrop.variational_dense(key, *arrays).sum()
    zeros = jnp.zeros((2, 4)), jnp.zeros((4, 3)), jnp.full((4, 3), -10.0)
    for gradient in jax.grad(loss, argnums=(0, 1, 2))(*zeros):
        assert np.isfinite(gradient).all()


def test_half_precision_is_accumulated_in_single(key):
    x, mean = jnp.ones((2, 4096), jnp.bfloat16), jnp.ones((4096, 2), jnp.bfloat16)
    log_variance = jnp.full((4096, 2), -10.0, jnp.bfloat16)
    y = jaxdrop.variational_dense(key, x, mean, log_variance)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), 4096, rtol=0.01)
    penalty = jaxdrop.variational_penalty(mean, log_variance)
    wide = [array.astype(jnp.float32) for array in (mean, log_variance)]
    np.testing.assert_allclose(penalty, jaxdrop.variational_penalty(*wide), rtol=1e-5)


def test_rejects_shapes_that_do_not_match(key):
    ones = jnp.ones
    with pytest.raises(ValueError, match=r"the same shape \(inputs, outputs\)"):
        jaxdrop.variational_dense(key, ones((2, 3)), ones((3, 4)), ones((3, 5)))
    with pytest.raises(ValueError, match=r"x must have shape \(\*batch, 3\)"):
        jaxdrop.variational_dense(key, ones((2, 4)), ones((3, 4)), ones((3, 4)))
    with pytest.raises(ValueError, match="variational_dense: key must be a PRNG key"):
        jaxdrop.variational_dense(None, ones((2, 3)), ones((3, 4)), ones((3, 4)))
    with pytest.raises(ValueError, match="the same shape"):
        jaxdrop.variational_penalty(ones((3, 4)), ones((4,)))


def test_the_dtype_of_the_input_is_kept_in_both_modes(key):
    x = jnp.ones((2, 4), jnp.bfloat16)
    mean, log_variance = jnp.ones((4, 3)), jnp.full((4, 3), -3.0)
    with jax.numpy_dtype_promotion("standard"):
        for flag in (False, True, jnp.bool_(True)):
            y = jaxdrop.variational_dense(
                key, x, mean, log_variance, deterministic=flag
            )
            assert y.dtype == jnp.bfloat16


def test_complex_input_has_no_variance_and_is_refused(key):
    mean = jnp.ones((4, 3))
    with pytest.raises(TypeError, match="must be real and floating, got complex64"):
        jaxdrop.variational_dense(key, jnp.ones((2, 4), jnp.complex64), mean, mean)


@pytest.mark.parametrize("precision", [3, "precise", [0], jnp.ones(2), np.float32(1)])
def test_a_precision_that_jax_does_not_know_is_refused_by_name(key, precision):
    x = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="variational_dense: precision must be None"):
        jaxdrop.variational_dense(key, x, x, x, precision=precision)


def test_a_precision_is_tried_once(key, monkeypatch):
    x, precision = jnp.ones((2, 2)), "highest"
    expected = jaxdrop.variational_dense(key, x, x, x, precision=precision)
    monkeypatch.setattr(jax, "eval_shape", None)
    y = jaxdrop.variational_dense(key, x, x, x, precision=precision)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.int32])
def test_a_threshold_may_have_any_dtype(dtype):
    x, noisy = jnp.ones((2, 2)), jnp.array([[2.0, 4.0], [2.0, 4.0]])
    number = jnp.asarray(3, dtype)
    y = jaxdrop.variational_dense(
        None, x, x, noisy, threshold=number, deterministic=True
    )
    np.testing.assert_array_equal(y, [[2, 0], [2, 0]])
    share = jaxdrop.variational_sparsity(x, noisy, threshold=number)
    assert float(share) == 0.5
