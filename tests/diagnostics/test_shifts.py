"""Weight scaling against the average, and the variance that BatchNorm sees."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from at_once import at_once
from chance import normal
from jaxdrop import diagnostics

weight_scaling_gap = at_once(diagnostics.weight_scaling_gap)
variance_shift = at_once(diagnostics.variance_shift)
KERNEL = jnp.array([[1.0, -1.0], [2.0, 0.5], [-0.5, 3.0]])


def test_a_linear_network_has_no_gap(key):
    noisy = lambda k, w, x: jaxdrop.dropout(k, x, rate=0.5) @ w
    plain = lambda w, x: x @ w
    x = jnp.asarray(np.round(16 * np.asarray(normal(20, 3))) / 16)  # exact products
    result = weight_scaling_gap(noisy, plain, key, KERNEL, x, num_samples=400)
    result = jax.device_get(result)
    np.testing.assert_array_equal(result.deterministic, x @ KERNEL)
    z = (result.average - result.deterministic) / result.stderr
    assert np.abs(z).max() < 5 and np.abs(z).max() > 0.5
    assert result.gap < 0.2 * np.sqrt(np.mean(result.stderr**2)) + 0.05


def test_average_and_error_are_those_of_stacked_samples(key):
    noisy = lambda k, x: jaxdrop.dropout(k, x, rate=0.3)
    plain = lambda x: 1.5 * x  # off by half of x, on purpose
    x = jnp.array([1.0, -2.0, 3.0])
    result = weight_scaling_gap(noisy, plain, key, x, num_samples=50)
    draw = lambda t: noisy(jax.random.fold_in(key, t), x)
    samples = np.asarray(jax.jit(jax.vmap(draw))(np.arange(50)), np.float64)
    np.testing.assert_allclose(result.average, samples.mean(axis=0), rtol=1e-5)
    error = samples.std(axis=0, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(result.stderr, error, rtol=1e-5)
    difference = samples.mean(axis=0) - 1.5 * np.asarray(x)
    expected = np.sqrt((difference**2 - error**2).mean())
    np.testing.assert_allclose(result.gap, expected, rtol=1e-4)


def test_a_kink_opens_the_gap_that_enumeration_gives(key):
    """The exact average of relu(sum of masked inputs - 3) over all 2**4 masks."""
    x = jnp.array([[1.0, 2.0, 0.5, 1.5]])
    head = lambda h: jax.nn.relu(h.sum(axis=-1) - 3)
    masks = np.array(list(itertools.product([0, 2], repeat=4)))
    exact = np.maximum((masks * np.asarray(x)).sum(axis=1) - 3, 0).mean()
    result = weight_scaling_gap(
        lambda k, x: head(jaxdrop.dropout(k, x, rate=0.5)),
        head,
        key,
        x,
        num_samples=4000,
    )
    assert abs(float(result.average[0]) - exact) < 5 * float(result.stderr[0])
    np.testing.assert_allclose(result.gap, exact - 2.0, atol=5 * result.stderr[0])


def test_outputs_may_be_trees_and_of_half_precision(key):
    def noisy(k, x):
        y = jaxdrop.dropout(k, x, rate=0.5)
        return {"sum": y.sum(), "all": y}

    x = jnp.ones(4, jnp.bfloat16)
    measure = jax.jit(
        lambda k: weight_scaling_gap(
            noisy, lambda x: {"sum": x.sum(), "all": x}, k, x, num_samples=64
        )
    )
    result = measure(key)
    assert result.average["all"].dtype == jnp.float32
    assert result.average["all"].shape == (4,) and result.gap.shape == ()


def test_a_gap_needs_two_samples_and_a_key():
    with pytest.raises(ValueError, match="num_samples must be at least 2, got 1"):
        weight_scaling_gap(
            jnp.sum, jnp.sum, jax.random.key(0), jnp.ones(2), num_samples=1
        )
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        weight_scaling_gap(jnp.sum, jnp.sum, None, jnp.ones(2), num_samples=4)


# Variance shift.


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_shift_is_the_published_ratio(rate):
    """V / ((c**2 + v) / p - c**2) with mean c, variance v and keep probability p."""
    rng = np.random.default_rng(0)
    x = rng.normal([0.0, 1.0, -3.0], [1.0, 0.5, 2.0], size=(5000, 3))
    c, v, p = x.mean(axis=0), x.var(axis=0), 1 - rate
    expected = v / ((c**2 + v) / p - c**2)
    found = jax.jit(diagnostics.variance_shift)(jnp.float32(x), rate=jnp.float32(rate))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    maps = jnp.asarray(np.moveaxis(np.float32(x).reshape(50, 100, 3), -1, 0))
    by_axis = variance_shift(maps, rate=rate, axis=0)
    np.testing.assert_allclose(by_axis, expected, rtol=1e-5)


@pytest.mark.parametrize("with_kernel", [False, True])
def test_the_shift_is_what_dropout_does(key, with_kernel):
    x = jnp.asarray(normal(500, 3) * np.float32([[1.0, 2.0, 0.5]]) + 1)
    head = (lambda h: h @ KERNEL) if with_kernel else (lambda h: h)

    @jax.jit
    def dropped(key):
        drop = lambda k: head(jaxdrop.dropout(k, x, rate=0.4))
        return jax.vmap(drop)(jax.random.split(key, 200))

    in_training = np.asarray(dropped(key)).reshape(-1, head(x).shape[-1])
    measured = np.asarray(head(x)).var(axis=0) / in_training.var(axis=0)
    found = variance_shift(x, rate=0.4, kernel=KERNEL if with_kernel else None)
    np.testing.assert_allclose(found, measured, rtol=0.02)
    assert (found < 0.8).all()


def test_shifts_at_the_extremes():
    x = jnp.array([[1.0, 0.0, 2.0], [3.0, 0.0, 2.0]])
    found = at_once(
        lambda: [diagnostics.variance_shift(x, rate=rate) for rate in (0.0, 0.5, 1.0)]
    )()
    np.testing.assert_allclose(found[0], [1, 1, 1])  # the second unit is always 0,
    np.testing.assert_allclose(found[1], [1 / 6, 1, 0])  # the third never varies
    np.testing.assert_allclose(found[2], [0, 1, 0])


def test_a_kernel_must_fit():
    with pytest.raises(ValueError, match=r"kernel must have the shape \(3, units\)"):
        variance_shift(jnp.ones((5, 3)), rate=0.5, kernel=jnp.ones((2, 3)))


@pytest.mark.parametrize("rate", [1.5, -1.0, np.nan])
def test_a_traced_rate_out_of_range_gives_nan(rate):
    x = normal(50, 2)
    assert np.isnan(variance_shift(x, rate=jnp.float32(rate))).all()


def test_the_number_of_samples_is_a_count():
    gap = diagnostics.weight_scaling_gap
    one = lambda *_: jnp.float32(1)
    for wrong, error in ((1, ValueError), (2.5, TypeError), (10**10, ValueError)):
        with pytest.raises(error, match="num_samples must be"):
            gap(one, one, jax.random.key(0), num_samples=wrong)


def test_variance_shift_of_activations_of_any_size():
    """The squares of 1e25 leave float32; features are far apart in size."""
    usual = np.asarray(normal(50, 3))
    shift = jax.jit(lambda x: diagnostics.variance_shift(x, rate=0.5))
    found = shift(usual * np.float32([[1e25, 1.0, 1e-25]]))
    np.testing.assert_allclose(found, shift(usual), rtol=1e-5)
    shift = jax.jit(lambda x: diagnostics.variance_shift(x, rate=0.5, kernel=KERNEL))
    np.testing.assert_allclose(shift(np.float32(1e25) * usual), shift(usual), rtol=1e-5)
    assert variance_shift(jnp.ones((5, 0)), rate=0.5).shape == (0,)


def test_complex_activations_have_real_variances(key):
    x = np.asarray(normal(50, 3)) + 1j * np.asarray(normal(50, 3, seed=1))
    x = jnp.asarray(x, jnp.complex64)
    variance, power = np.var(x, axis=0), np.mean(np.abs(x) ** 2, axis=0)
    ratio = variance_shift(x, rate=0.5)
    np.testing.assert_allclose(ratio, variance / (variance + power), rtol=1e-5)
    drop = lambda key, x: jaxdrop.dropout(key, x, rate=0.5)
    gap = weight_scaling_gap(drop, lambda x: x, key, x, num_samples=400)
    np.testing.assert_allclose(gap.stderr, np.abs(x) / 20, rtol=0.2)


@pytest.mark.parametrize("output", ["text", None, 2**70, [[1.0], ["2"]]])
def test_functions_return_numbers(key, output):
    if output is None:
        output = object()
    drop = lambda key, x: jaxdrop.dropout(key, x, rate=0.5)
    with pytest.raises((TypeError, ValueError), match="the output of stochastic"):
        weight_scaling_gap(
            lambda key, x: object(), lambda x: x, key, KERNEL, num_samples=2
        )
    if output != 2**70:  # which is a float
        with pytest.raises(TypeError, match="the output of deterministic must be"):
            weight_scaling_gap(drop, lambda x: output, key, KERNEL, num_samples=2)
