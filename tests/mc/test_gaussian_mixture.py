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
    found = reduce(reducer, samples, errors=False, **way)[0]["log_density"]
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
        found = reduce(reducer, (mean, value), errors=False)[0]["aleatoric"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_constant_noise_is_the_precision_of_gal_and_ghahramani(
    samples, targets, reduce
):
    tau, dims = 4.0, 2
    reducer = mc.gaussian_mixture(noise=1 / tau, targets=targets, event_dims=1)
    found = reduce(reducer, samples[0], errors=False)[0]
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
    assert np.isnan(found["epistemic"]).all() and np.isnan(found["total"]).all()
    assert np.isnan(errors["log_density"]).all()
    assert np.isfinite(found["log_density"]).all()


def test_targets_far_from_all_samples_have_a_finite_log_density(samples, reduce):
    reducer = mc.gaussian_mixture(targets=np.full((6, 2), 1e3, np.float32))
    found = reduce(reducer, samples, chunks=4, errors=False)[0]["log_density"]
    assert np.isfinite(found).all() and (np.asarray(found) < -1e4).all()


def test_outputs_that_are_no_pair_are_named(samples, targets, reduce):
    mean, variance = samples
    with pytest.raises(ValueError, match=r"must be \(mean, spread\).*got dict"):
        reduce(mc.gaussian_mixture(), {"mean": mean, "variance": variance})
    with pytest.raises(ValueError, match="mean and variance must have the same shape"):
        reduce(mc.gaussian_mixture(), (mean, variance[:, :3]))
    with pytest.raises(ValueError, match="targets must have the shape of the means"):
        reduce(mc.gaussian_mixture(targets=targets[:, 0]), samples)
    for given in (None, targets):
        with pytest.raises(ValueError, match="event_dims=3 is more than the axes"):
            reduce(mc.gaussian_mixture(targets=given, event_dims=3), samples)
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


@pytest.mark.parametrize("spread", ["variance", "std"])
@pytest.mark.parametrize("event_dims", [0, 1])
def test_a_spread_of_zero_is_a_point(spread, event_dims, samples, targets, reduce):
    mean, variance = samples
    scale = variance if spread == "variance" else np.sqrt(variance)
    scale[3, 1], scale[5] = 0, 0
    mean[7, 2, 0], scale[7, 2, 0] = targets[2, 0], 0  # at the target itself
    reducer = mc.gaussian_mixture(spread=spread, targets=targets, event_dims=event_dims)
    found, errors = reduce(reducer, (mean, scale), chunks=4, junk=1)
    std = scale.astype(np.float64) if spread == "std" else np.sqrt(scale, dtype=float)
    with np.errstate(divide="ignore"):
        logs = stats.norm.logpdf(targets, mean, np.where(std > 0, std, 1))
        logs = np.where(std > 0, logs, np.where(mean == targets, np.inf, -np.inf))
    if event_dims:
        missed = (logs == -np.inf).any(-1)
        logs = np.where(missed, -np.inf, np.where(missed[..., None], 0, logs).sum(-1))
    expected = special.logsumexp(logs, 0) - np.log(20)
    np.testing.assert_allclose(found["log_density"], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(errors["log_density"])[expected < np.inf].all()


def test_spreads_that_underflow_are_points_or_exact(reduce):
    targets = np.float32([0.0, 1.0])
    means = np.zeros((4, 2), np.float32)
    small = {"variance": 1e-44, "std": 1e-30, "log_variance": -300.0}
    for spread, scale in small.items():
        both = np.stack([np.full((4, 2), scale), np.zeros((4, 2))])[0]
        both[1] = {"log_variance": 0.0}.get(spread, 1.0)
        reducer = mc.gaussian_mixture(spread=spread, targets=targets)
        given = (means, both.astype(np.float32))
        found = np.asarray(reduce(reducer, given, errors=False)[0]["log_density"])
        wide = stats.norm.logpdf(1.0) - np.log(4)  # of the one sample that reaches it
        np.testing.assert_allclose(found[1], wide, rtol=1e-5)
        assert found[0] > 20 and not np.isnan(found[0])


@pytest.mark.parametrize("spread", ["variance", "std"])
def test_negative_spreads_are_nan(spread, samples, targets, reduce):
    mean, scale = samples
    scale[2, 4, 1] = -0.5
    reducer = mc.gaussian_mixture(spread=spread, targets=targets)
    found, errors = reduce(reducer, (mean, scale), chunks=3, parts=2)
    wrong = np.zeros((6, 2), bool)
    wrong[4, 1] = True
    for name in ("aleatoric", "total", "log_density"):
        np.testing.assert_array_equal(np.isnan(found[name]), wrong)
    assert np.isnan(errors["aleatoric"][4, 1])
    noise = mc.gaussian_mixture(noise=jnp.where(wrong, -1.0, 1.0))
    np.testing.assert_array_equal(
        np.isnan(reduce(noise, mean, errors=False)[0]["total"]), wrong
    )
