"""Bins of equal width and of equal mass, at their edges and with ties."""

import jax
import numpy as np
import pytest

from jaxdrop import metrics


def two_classes(p):
    p = np.asarray(p, np.float32)
    return np.stack([p, 1 - p], -1)


@pytest.mark.parametrize("num_bins", [1, 3, 7, 10, 15, 41, 49, 100])
def test_every_confidence_at_an_edge_opens_its_bin(num_bins):
    edges = (np.arange(num_bins + 1) / num_bins).astype(np.float32)
    probs = np.stack([edges, np.zeros_like(edges)], -1)  # the top label is the edge
    bins = metrics.calibration_bins(
        probs, np.zeros(num_bins + 1, int), num_bins=num_bins
    )
    expected = np.ones(num_bins)
    expected[-1] = 2  # 1.0 is in the last bin
    np.testing.assert_array_equal(bins.weight, expected)


def test_sums_over_a_million_equal_confidences_do_not_drift():
    p = np.full(10**6, 0.999, np.float32)
    error = metrics.expected_calibration_error(two_classes(p), np.zeros(p.size, int))
    assert abs(error - (1 - np.float64(p[0]))) < 2e-5  # a running sum is off by 5e-4


def test_bins_of_seven_batches_add_up():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(5), 700).astype(np.float32)
    labels = rng.integers(0, 5, 700)
    whole = metrics.calibration_bins(probs, labels)
    parts = [
        metrics.calibration_bins(p, l)
        for p, l in zip(np.split(probs, 7), np.split(labels, 7), strict=True)
    ]
    streamed = jax.tree.map(lambda *sums: sum(sums), *jax.device_get(parts))
    names = ("expected_error", "maximum_error", "debiased_squared_error")
    errors = jax.jit(lambda bins: [getattr(bins, name) for name in names])
    np.testing.assert_allclose(errors(streamed), errors(whole), rtol=0, atol=1e-6)


def test_adaptive_bins_hold_equally_many():
    p = np.float32([0.90, 0.91, 0.98, 0.99])
    labels = np.array([0, 0, 0, 1])
    two_bins = metrics.adaptive_calibration_error(two_classes(p), labels, num_bins=2)
    assert two_bins == pytest.approx((0.095 + abs(0.5 - 0.985)) / 2)


def test_adaptive_bins_survive_ties_and_few_examples():
    labels = np.array([0, 0, 1])
    for p in ([0.8, 0.8, 0.8], [0.8, 0.9, 0.9]):
        error = metrics.adaptive_calibration_error(two_classes(p), labels, num_bins=15)
        assert np.isfinite(error)
    tied = metrics.adaptive_calibration_error(two_classes([0.8] * 3), labels)
    assert tied == pytest.approx(0.8 - 2 / 3)
    order = [2, 0, 1]
    shuffled = metrics.adaptive_calibration_error(two_classes([0.8] * 3), labels[order])
    assert shuffled == tied


def test_numpy_confidences_that_float32_makes_equal_are_binned_apart():
    confidence = 0.5 + np.array([1e-10, 2e-10, 3e-10, 4e-10])
    probs, labels = np.stack([confidence, 1 - confidence], -1), np.array([1, 1, 0, 0])
    error = metrics.adaptive_calibration_error(probs, labels, num_bins=2)
    assert error == pytest.approx(0.5)  # wrong in one bin, right in the other
    classwise = metrics.classwise_calibration_error
    error = classwise(probs, labels, num_bins=2, adaptive=True)
    assert error == pytest.approx(0.5)
