"""Moments and covariances against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import mc

WAYS = [
    {"chunks": 1},
    {"chunks": 5, "junk": 2},
    {"chunks": 25, "junk": 1},
    {"chunks": 3, "parts": 4},
]


@pytest.mark.parametrize("way, ddof", list(zip(WAYS, [1, 0, 1, 1], strict=True)))
def test_moments_are_those_of_the_stack(way, ddof, reduce):
    samples = np.random.default_rng(0).normal(3, 2, (25, 4, 2)).astype(np.float32)
    reducer = mc.moments(ddof=ddof)
    stats, errors = reduce(reducer, samples, **way)
    wide = samples.astype(np.float64)
    np.testing.assert_allclose(stats["mean"], wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats["var"], wide.var(0, ddof=ddof), rtol=2e-6)
    error = wide.std(0, ddof=1) / 5
    np.testing.assert_allclose(errors["mean"], error, rtol=2e-6)


@pytest.mark.parametrize("way", WAYS[::3])
def test_a_small_variance_about_a_large_mean_is_not_lost(way, reduce):
    samples = np.random.default_rng(0).normal(1e4, 1, (2000, 3)).astype(np.float32)
    reducer = mc.moments()
    var = reduce(reducer, samples, **way)[0]["var"]
    np.testing.assert_allclose(
        var, samples.astype(np.float64).var(0, ddof=1), rtol=5e-3
    )


@pytest.mark.parametrize("way, num_axes", list(zip(WAYS, [0, 1, 2, None], strict=True)))
def test_covariance_is_that_of_the_stack(way, num_axes, reduce):
    samples = np.random.default_rng(0).normal(5, 1, (25, 3, 2)).astype(np.float32)
    reducer = mc.covariance(num_axes=num_axes)
    stats, errors = reduce(reducer, samples, **way)
    batch = () if num_axes in (None, 2) else (3,) if num_axes == 1 else (3, 2)
    flat = samples.reshape(25, int(np.prod(batch)), -1).astype(np.float64)
    expected = np.stack([np.atleast_2d(np.cov(x.T)) for x in flat.swapaxes(0, 1)])
    size = flat.shape[-1]
    np.testing.assert_allclose(
        stats["covariance"], expected.reshape(*batch, size, size), atol=1e-5
    )
    np.testing.assert_allclose(stats["mean"], samples.mean(0), rtol=1e-5)
    error = samples.std(0, ddof=1) / 5
    np.testing.assert_allclose(errors["mean"], error, rtol=1e-5)


def test_covariance_of_too_many_axes_is_an_error(reduce):
    with pytest.raises(ValueError, match=r"num_axes=3 is more than the outputs' axes"):
        reduce(mc.covariance(num_axes=3), np.ones((4, 2, 2)))


@pytest.mark.parametrize("way", WAYS)
def test_means_of_infinite_samples_are_infinite(way, reduce):
    samples = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    samples[:, 0] = -np.inf  # as in logits with masked classes
    samples[[0, 7], 1] = np.inf
    samples[:2, 2] = -np.inf, np.inf
    for reducer in (mc.moments(), mc.covariance(num_axes=0)):
        mean = reduce(reducer, samples, **way)[0]["mean"]
        expected = [-np.inf, np.inf, np.nan, samples[:, 3].mean()]
        np.testing.assert_allclose(mean, expected, rtol=1e-5)


def test_no_samples_have_no_moments():
    reducer = mc.moments()
    state = reducer.init(jax.ShapeDtypeStruct((2,), jnp.float32))
    assert jnp.isnan(reducer.finalize(state)["mean"]).all()
    assert jnp.isnan(reducer.stderr(state)["mean"]).all()
