"""The mixture of normal predictions, its two variances and its density."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxdrop import mc

WAYS = [{"chunks": 1}, {"chunks": 5, "junk": 2}, {"chunks": 3, "parts": 4}]


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=(20, 6, 2)), 0.1 + rng.random((20, 6, 2))
    return mean.astype(np.float32), variance.astype(np.float32)


@pytest.fixture
def targets():
    return np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)


def test_variances_add_up(samples, reduce):
    found, errors = reduce(mc.gaussian_mixture(), samples, chunks=3, parts=2)
    mean, variance = (x.astype(np.float64) for x in samples)
    np.testing.assert_allclose(found["mean"], mean.mean(0), atol=1e-6)
    np.testing.assert_allclose(found["aleatoric"], variance.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["epistemic"], mean.var(0, ddof=1), rtol=1e-5)
    both = found["aleatoric"] + found["epistemic"]
    np.testing.assert_allclose(found["total"], both, rtol=1e-6)
    scale = 1 / np.sqrt(20)
    np.testing.assert_allclose(
        errors["aleatoric"], variance.std(0, ddof=1) * scale, rtol=1e-5
    )
    np.testing.assert_allclose(errors["mean"], mean.std(0, ddof=1) * scale, rtol=1e-5)


@pytest.mark.parametrize("way, event_dims", list(zip(WAYS, [0, 1, 2], strict=True)))
def test_the_density_is_that_of_the_mixture(way, event_dims, samples, targets, reduce):
    reducer = mc.gaussian_mixture(targets=targets, event_dims=event_dims)
    found = reduce(reducer, samples, **way)[0]["log_density"]
    mean, variance = (x.astype(np.float64) for x in samples)
    logs = stats.norm.logpdf(targets, mean, np.sqrt(variance))
    logs = logs.sum(tuple(range(3 - event_dims, 3)))
    expected = special.logsumexp(logs, 0) - np.log(20)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_spread_may_be_given_in_three_ways(samples, reduce):
    mean, variance = samples
    expected = variance.mean(0)
    for spread, value in {
        "variance": variance,
        "log_variance": np.log(variance),
        "std": np.sqrt(variance),
    }.items():
        reducer = mc.gaussian_mixture(spread=spread)
        found = reduce(reducer, (mean, value))[0]["aleatoric"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_constant_noise_is_the_precision_of_gal_and_ghahramani(
    samples, targets, reduce
):
    tau, dims = 4.0, 2
    reducer = mc.gaussian_mixture(noise=1 / tau, targets=targets, event_dims=1)
    found = reduce(reducer, samples[0])[0]
    mean = samples[0].astype(np.float64)
    np.testing.assert_allclose(found["total"], 1 / tau + mean.var(0, ddof=1), rtol=1e-5)
    errors = ((targets - mean) ** 2).sum(-1)
    expected = (
        special.logsumexp(-tau / 2 * errors, 0)
        - np.log(20)
        - dims / 2 * np.log(2 * np.pi)
        + dims / 2 * np.log(tau)
    )
    np.testing.assert_allclose(found["log_density"], expected, rtol=1e-5)


def test_the_error_of_the_density_is_its_spread_over_repetitions(reduce):
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 0.7, (200, 400)).astype(np.float32)
    reducer = mc.gaussian_mixture(noise=0.5, targets=np.full(400, 0.3, np.float32))
    stats, errors = reduce(reducer, mean, chunks=4)
    seen = stats["log_density"].std(ddof=1)
    told = errors["log_density"].mean()
    assert 0.9 < told / seen < 1.1


def test_one_sample_has_no_epistemic_variance(samples, targets, reduce):
    reducer = mc.gaussian_mixture(targets=targets)
    found, errors = reduce(reducer, tuple(x[:1] for x in samples))
    np.testing.assert_allclose(found["aleatoric"], samples[1][0])
    assert jnp.isnan(found["epistemic"]).all() and jnp.isnan(found["total"]).all()
    assert jnp.isnan(errors["log_density"]).all()
    assert jnp.isfinite(found["log_density"]).all()


def test_targets_far_from_all_samples_have_a_finite_log_density(samples, reduce):
    reducer = mc.gaussian_mixture(targets=np.full((6, 2), 1e3, np.float32))
    found = reduce(reducer, samples, chunks=4)[0]["log_density"]
    assert jnp.isfinite(found).all() and (found < -1e4).all()


def test_outputs_that_are_no_pair_are_named(samples, targets, reduce):
    mean, variance = samples
    with pytest.raises(ValueError, match=r"takes outputs \(mean, spread\).*got dict"):
        reduce(mc.gaussian_mixture(), {"mean": mean, "variance": variance})
    with pytest.raises(ValueError, match="mean and variance must have one shape"):
        reduce(mc.gaussian_mixture(), (mean, variance[:, :3]))
    with pytest.raises(ValueError, match="targets must have the shape of the means"):
        reduce(mc.gaussian_mixture(targets=targets[:, 0]), samples)
    with pytest.raises(ValueError, match="means alone"):
        reduce(mc.gaussian_mixture(noise=1.0), samples)
    with pytest.raises(ValueError, match="spread must be one of"):
        mc.gaussian_mixture(spread="sigma")
    picked = mc.gaussian_mixture(of=lambda out: (out["mean"], out["variance"]))
    found = reduce(picked, {"mean": mean, "variance": variance})[0]
    np.testing.assert_allclose(found["mean"], mean.mean(0), atol=1e-6)


@pytest.mark.parametrize("noise", [-1.0, float("nan")])
def test_noise_is_a_variance(noise):
    with pytest.raises(ValueError, match="gaussian_mixture: noise must be finite"):
        mc.gaussian_mixture(noise=noise)
