"""Risk, coverage and rejection, by hand and under ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from chance import assert_mean
from jaxdrop import metrics

CONFIDENCE = np.float32([0.9, 0.8, 0.7, 0.6, 0.5])
ERRORS = np.array([0, 1, 1, 1, 1])


def test_the_curve_by_hand():
    curve = metrics.risk_coverage(CONFIDENCE, ERRORS)
    np.testing.assert_allclose(curve.coverage, [0.2, 0.4, 0.6, 0.8, 1], rtol=1e-6)
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 2 / 3, 3 / 4, 4 / 5], rtol=1e-6)
    assert curve.coverage_at(0.3) == pytest.approx(0.2)
    assert curve.coverage_at(0.7) == pytest.approx(0.6)
    assert metrics.risk_coverage(CONFIDENCE, ERRORS[::-1]).coverage_at(0.1) == 0


def test_the_areas_by_hand():
    area, excess, generalized, worst = at_once(
        lambda: (
            metrics.aurc(CONFIDENCE, ERRORS),
            metrics.aurc(CONFIDENCE, ERRORS, kind="excess"),
            metrics.aurc(CONFIDENCE, ERRORS, kind="generalized"),
            metrics.aurc(CONFIDENCE, ERRORS[::-1], kind="excess"),
        )
    )()
    assert area == pytest.approx(0.543333, abs=1e-6)
    assert excess == pytest.approx(0, abs=1e-7)
    assert generalized == pytest.approx((0 + 1 + 2 + 3 + 4) / 25)
    risks = np.cumsum(ERRORS[::-1]) / np.arange(1, 6)
    assert worst == pytest.approx(risks.mean() - 0.543333, abs=1e-6)


def test_ties_give_the_average_over_orders():
    rng = np.random.default_rng(0)
    confidence = np.float32([3, 2, 2, 2, 1, 1])
    losses = rng.random(6).astype(np.float32)
    jitter = confidence + 0.1 * rng.random((4000, 6))
    orders = np.argsort(-jitter, axis=1)
    risks = np.cumsum(losses[orders], axis=1) / np.arange(1, 7)
    error = risks.std(0) / np.sqrt(4000) + 1e-7  # without ties there is no chance
    assert_mean(risks, metrics.risk_coverage(confidence, losses).risk, error=error)


def test_rejection_is_the_other_side_of_coverage():
    curve = metrics.accuracy_rejection(CONFIDENCE, 1 - ERRORS)
    np.testing.assert_allclose(curve.rejected, [0, 0.2, 0.4, 0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(curve.accuracy, [0.2, 0.25, 1 / 3, 0.5, 1], rtol=1e-6)


def test_weights_scale_what_an_example_covers():
    weights = np.float32([1, 1, 2, 0, 0])
    curve = metrics.risk_coverage(CONFIDENCE, ERRORS, weights=weights)
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 1, 1, 1])
    np.testing.assert_allclose(curve.risk, [0, 0.5, 0.75, 0.75, 0.75])


def test_kinds_are_offered_by_name():
    with pytest.raises(ValueError, match=r"kind must be one of .*'excess'.*'eaurc'"):
        metrics.aurc(CONFIDENCE, ERRORS, kind="eaurc")


def test_a_confidence_that_is_nan_is_not_the_lowest():
    confidence, wrong = np.float32([0.9, np.nan, 0.5]), np.float32([0, 1, 0])
    area, curve, padded = at_once(
        lambda: (
            metrics.aurc(confidence, wrong),
            metrics.risk_coverage(confidence, wrong),
            metrics.aurc(confidence, wrong, weights=np.float32([1, 0, 1])),
        )
    )()
    assert np.isnan(area) and np.isnan(curve.risk).any()
    assert padded == metrics.aurc(confidence[[0, 2]], wrong[[0, 2]])


def test_the_curve_is_that_of_a_loop_over_thresholds():
    rng = np.random.default_rng(0)
    confidence = rng.permutation(50).astype(np.float32)
    losses, weights = rng.exponential(size=(2, 50)).astype(np.float32)
    curve, found = at_once(
        lambda: (
            metrics.risk_coverage(confidence, losses, weights=weights),
            metrics.aurc(confidence, losses, weights=weights),
        )
    )()
    curve = jax.device_get(curve)
    for k, threshold in enumerate(np.sort(confidence)[::-1]):
        kept = confidence >= threshold
        risk = np.average(losses[kept], weights=weights[kept])
        np.testing.assert_allclose(curve.risk[k], risk, rtol=1e-5)
        covered = weights[kept].sum() / weights.sum()
        np.testing.assert_allclose(curve.coverage[k], covered, rtol=1e-5)
    area = np.average(curve.risk, weights=weights[np.argsort(-confidence)])
    np.testing.assert_allclose(found, area, rtol=1e-5)


def test_one_example_is_a_curve_of_one_point():
    curve = metrics.risk_coverage(np.float32([0.7]), np.float32([0.3]))
    np.testing.assert_allclose(curve.risk, [0.3])
    np.testing.assert_allclose(curve.coverage, [1.0])
    np.testing.assert_allclose(metrics.aurc(np.float32([0.7]), np.float32([0.3])), 0.3)


def test_a_risk_that_is_not_known_leaves_the_coverage_unknown():
    confidence, losses = np.float32([0.9, np.nan, 0.5]), np.float32([0, 0, 0])
    assert np.isnan(metrics.risk_coverage(confidence, losses).coverage_at(0.5))
    padding = np.float32([0, 0, 1])  # of full confidence, and without a risk
    curve = metrics.risk_coverage(confidence, losses, weights=padding)
    assert curve.coverage_at(0.5) == 1


@pytest.mark.parametrize("correct", [[5, 1], [-2, 1], [np.nan, 1]])
def test_what_is_neither_right_nor_wrong_gives_nan(correct):
    confidence, correct = np.float32([0.5, 0.9]), np.float32(correct)
    curve = metrics.accuracy_rejection(confidence, correct)
    np.testing.assert_array_equal(curve.accuracy, [np.nan, 1])
    padded = metrics.accuracy_rejection(confidence, correct, weights=np.float32([0, 1]))
    assert padded.accuracy[0] == 1


def test_confidences_that_float32_cannot_tell_apart_are_no_ties():
    confidence, losses = np.array([2**24, 2**24 + 1]), np.array([1, 0])
    curve, area, rejected = at_once(
        lambda: (
            metrics.risk_coverage(confidence, losses),
            metrics.aurc(confidence, losses),
            metrics.accuracy_rejection(confidence, 1 - losses),
        )
    )()
    np.testing.assert_array_equal(curve.risk, [0, 0.5])
    assert area == 0.25
    np.testing.assert_array_equal(rejected.accuracy, [0.5, 1])


def test_accuracy_at_a_share_that_is_rejected():
    confidence, correct = np.array([0.5, 0.9, 0.7, 0.6]), np.array([0, 1, 0, 1])
    curve = metrics.accuracy_rejection(confidence, correct)
    found = [float(curve.accuracy_at(share)) for share in (0, 0.1, 0.25, 0.5, 0.75)]
    np.testing.assert_allclose(found, [1 / 2, 2 / 3, 2 / 3, 1 / 2, 1], rtol=1e-6)
    assert np.isnan(curve.accuracy_at(0.8))  # no point of the curve rejects so many
    assert np.isnan(curve.accuracy_at(jnp.float32(1.5)))
    with pytest.raises(ValueError, match="rejected must be between 0 and 1"):
        curve.accuracy_at(-0.1)
    assert np.isnan(metrics.risk_coverage(confidence, 1 - correct).coverage_at(np.nan))


@pytest.mark.parametrize("number", [1, 3, 7, 10, 1000, 10007])
def test_the_ends_of_a_curve_are_exact(number):
    random = np.random.default_rng(number)
    confidence, losses, weights = random.uniform(size=(3, number)).astype(np.float32)
    both = jax.jit(
        lambda *data, weights: (
            metrics.accuracy_rejection(*data, weights=weights),
            metrics.risk_coverage(*data, weights=weights),
        )
    )
    for of_weights in (None, weights):
        rejection, curve = jax.device_get(both(confidence, losses, weights=of_weights))
        assert rejection.rejected[0] == 0 and (np.diff(rejection.rejected) >= 0).all()
        assert curve.coverage[-1] == 1 and (np.diff(curve.coverage) >= 0).all()
