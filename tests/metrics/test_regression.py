"""Scores of real-valued predictions against quadrature, NumPy and the normal law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from at_once import at_once
from chance import assert_mean, normal
from jaxdrop import metrics


@pytest.mark.parametrize("mean, std, y", [(0, 1, 0), (1, 2, -3), (-1, 0.1, -1.3)])
def test_gaussian_crps_is_the_integral(mean, std, y):
    law = stats.norm(mean, std)
    below, _ = integrate.quad(lambda t: law.cdf(t) ** 2, -40, y, limit=200)
    above, _ = integrate.quad(lambda t: (1 - law.cdf(t)) ** 2, y, 40, limit=200)
    score = metrics.crps_gaussian(float(mean), float(std), float(y))
    assert score == pytest.approx(below + above, abs=1e-6)


def test_a_prediction_without_spread_scores_its_absolute_error():
    score = jax.jit(jax.value_and_grad(lambda s: metrics.crps_gaussian(1.0, s, 3.0)))
    value, slope = score(0.0)
    assert value == 2 and np.isfinite(slope)
    assert np.isnan(score(-1.0)[0])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_sample_crps_is_the_double_sum(count):
    rng = np.random.default_rng(0)
    samples, y = rng.normal(size=(count, 9)), rng.normal(size=9)
    pairs = np.abs(samples[:, None] - samples[None]).sum((0, 1))
    error = np.abs(samples - y).mean(0)
    plain = (error - pairs / (2 * count**2)).mean()
    assert metrics.crps_samples(samples, y, fair=False) == pytest.approx(
        plain, abs=1e-6
    )
    if count > 1:
        fair = (error - pairs / (2 * count * (count - 1))).mean()
        assert metrics.crps_samples(samples, y) == pytest.approx(fair, abs=1e-6)


def test_fair_crps_is_right_on_average_even_for_two_samples():
    samples = normal(2, 10**5)
    target = np.full(10**5, 0.7, np.float32)
    both = lambda s, y: [
        metrics.crps_samples(s, y, fair=fair) for fair in (True, False)
    ]
    fair, unfair = jax.jit(jax.vmap(both, in_axes=(1, 0)))(samples, target)
    truth = metrics.crps_gaussian(0.0, 1.0, 0.7)
    assert_mean(fair, truth)
    with pytest.raises(AssertionError):
        assert_mean(unfair, truth)


def test_samples_may_be_along_any_axis():
    rng = np.random.default_rng(0)
    samples, y = rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 5))
    moved = metrics.crps_samples(np.moveaxis(samples, 1, 0), y)
    assert metrics.crps_samples(samples, y, axis=-2) == moved
    with pytest.raises(ValueError, match="at least 2 samples are needed"):
        metrics.crps_samples(samples[:, :1], y, axis=1)
    with pytest.raises(ValueError, match=r"shape of one sample, \(3, 5\)"):
        metrics.crps_samples(samples, y)


def test_sharpness_is_the_root_mean_variance():
    std = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert metrics.sharpness(std) == pytest.approx(np.sqrt(30 / 4))


def test_the_curve_is_the_diagonal_for_the_true_distribution():
    y = normal(4000)
    result = metrics.regression_calibration(np.zeros_like(y), 1.0, y)
    result = jax.device_get(result)
    np.testing.assert_allclose(result.levels, np.arange(1, 100) / 100, rtol=1e-6)
    error = np.sqrt(result.levels * (1 - result.levels) / y.size)
    assert (np.abs(result.observed - result.levels) < 5 * error).all()
    assert result.mace <= result.rmsce < 0.02


@pytest.mark.parametrize("bias", [1.0, -1.0])
def test_predictions_that_are_too_high_are_above_the_diagonal(bias):
    y = normal(2000)
    result = metrics.regression_calibration(np.full_like(y, bias), 1.0, y)
    result = jax.device_get(result)
    assert (np.sign(result.observed - result.levels) == np.sign(bias)).all()
    expected = stats.norm.cdf(stats.norm.ppf(np.asarray(result.levels)) + bias)
    np.testing.assert_allclose(result.observed, expected, atol=0.05)


def test_errors_are_compared_with_the_variance_bin_by_bin():
    std = np.repeat([1.0, 2.0], 4)
    y = np.array([1.0, -1.0, 1.0, -1.0, 4.0, -4.0, 4.0, -4.0])  # twice too certain
    result = metrics.regression_calibration(np.zeros(8), std, y, num_bins=2)
    np.testing.assert_allclose(result.weight, [4, 4])
    np.testing.assert_allclose(result.variance, [1, 4])
    np.testing.assert_allclose(result.squared_error, [1, 16])
    assert result.ence == pytest.approx((0 + (4 - 2) / 2) / 2)
    assert result.uce == pytest.approx((0 + 12) / 2)


@pytest.mark.parametrize("name", ["num_levels", "num_bins"])
def test_counts_are_whole_and_positive(name):
    calibrate = lambda n: metrics.regression_calibration(0.0, 1.0, 0.5, **{name: n})
    for few in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got {few}"):
            calibrate(few)
    for other in (2.5, True, np.True_, None, "3"):
        with pytest.raises(TypeError, match=f"{name} must be an integer, got"):
            calibrate(other)
    assert calibrate(np.int64(4)).levels.shape == (4 if name == "num_levels" else 99,)


def test_a_negative_deviation_is_none():
    std, zeros = np.array([-1.0, 1.0]), np.zeros(2)
    assert np.isnan(metrics.sharpness(std))
    assert metrics.sharpness(std, weights=np.array([0, 1])) == 1

    def summaries(std):
        result = metrics.regression_calibration(zeros, std, zeros, num_bins=1)
        return [getattr(result, name) for name in ("mace", "rmsce", "ence", "uce")]

    assert np.isnan(at_once(summaries)(std)).all()
    assert at_once(summaries)(zeros)[3] == 0  # a deviation of 0 has a variance


def test_a_width_of_zero_is_a_step_at_the_mean():
    rng = np.random.default_rng(0)
    mean, std, targets = rng.normal(size=(3, 40))
    std = np.abs(std) * (np.arange(40) % 3 > 0)
    targets[:6:3] = mean[:6:3]  # on the step
    found, mace, uce, below = at_once(
        lambda: (
            found := metrics.regression_calibration(mean, std, targets, num_levels=19),
            found.mace,
            found.uce,
            metrics.regression_calibration(mean, std - 1, targets).mace,
        )
    )()
    levels = np.arange(1, 20) / 20
    quantiles = mean + std * stats.norm.ppf(levels)[:, None]
    np.testing.assert_allclose(
        found.observed, (targets <= quantiles).mean(1), rtol=1e-6
    )
    assert np.isfinite(mace) and np.isfinite(uce) and np.isnan(below)
    nothing = np.zeros(4)
    ence = at_once(lambda y: metrics.regression_calibration(nothing, nothing, y).ence)
    assert ence(nothing) == 0 and ence(nothing + 1) == np.inf


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_sharpness_has_no_scale_at_which_it_fails(scale):
    std = scale * np.array([1.0, 7.0])
    assert metrics.sharpness(np.float32(std)) == pytest.approx(5 * scale)


def test_samples_may_be_more_than_int32_holds_pairs_of():
    samples = jnp.full((70_000, 1), 1.0)
    assert metrics.crps_samples(samples, jnp.zeros(1)) == pytest.approx(1, rel=1e-4)


def test_no_targets_have_no_score():
    for xp in np, jnp:
        assert np.isnan(metrics.crps_samples(xp.ones((3, 0)), xp.ones(0)))
