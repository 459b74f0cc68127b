"""Calibration errors, at the edges of bins and against a plain reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import assert_mean
from jaxdrop import metrics


def two_classes(p):
    p = np.asarray(p, np.float32)
    return np.stack([p, 1 - p], -1)


def reference_ece(probs, labels, num_bins):
    """As torchmetrics has it, in float64, with its last bin closed."""
    confidence, predicted = probs.max(-1), probs.argmax(-1)
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.minimum(np.digitize(confidence, edges) - 1, num_bins - 1)
    total = 0.0
    for b in set(bins):
        inside = bins == b
        gap = (predicted == labels)[inside].mean() - confidence[inside].mean()
        total += inside.mean() * abs(gap)
    return total


@pytest.mark.parametrize("num_bins", [10, 15])
def test_equals_a_plain_reference(num_bins):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        probs = rng.dirichlet(np.full(10, 0.3), 500)
        labels = rng.integers(0, 10, 500)
        ours = metrics.expected_calibration_error(
            probs.astype(np.float32), labels, num_bins=num_bins
        )
        assert abs(ours - reference_ece(probs, labels, num_bins)) < 1e-6


def calibrated(rng, number):
    """Two probabilities of each example, and labels that have them."""
    p = (0.5 + rng.random(number) / 2).astype(np.float32)
    return np.stack([p, 1 - p], -1), (rng.random(number) >= p).astype(np.int32)


def test_a_calibrated_model_of_a_million_examples_has_no_error():
    probs, labels = calibrated(np.random.default_rng(0), 10**6)
    assert metrics.expected_calibration_error(probs, labels) < 0.003


def test_the_debiased_error_of_a_calibrated_model_is_zero():
    """Within five standard errors, over repetitions of a hundred thousand examples."""
    debiased = jax.jit(metrics.debiased_calibration_error)
    rng = np.random.default_rng(0)
    found = np.array([debiased(*calibrated(rng, 10**5)) for _ in range(20)])
    assert_mean(found, 0.0)
    assert np.abs(found).max() < 1e-4  # of squares; the plain ones are all above 0


@pytest.mark.parametrize("weighted", [False, True])
def test_the_debiased_error_is_right_on_average_and_the_plain_one_is_not(weighted, key):
    p = np.repeat(np.linspace(0.71, 0.98, 10, dtype=np.float32), 3)  # three in each bin
    weights = np.tile(np.float32([1.0, 2.0, 5.0]), 10) if weighted else None

    def errors(key, gap):
        labels = (jax.random.uniform(key, p.shape) >= p - gap).astype(jnp.int32)
        bins = metrics.calibration_bins(
            jnp.stack([p, 1 - p], -1), labels, num_bins=50, weights=weights
        )
        return bins.debiased_squared_error, bins.root_mean_squared_error**2

    each = jax.vmap(errors, in_axes=(0, None))
    repeat = jax.jit(lambda key, gap: each(jax.random.split(key, 5000), gap))
    for gap in (0.0, 0.2):
        debiased, plain = repeat(key, gap)
        assert_mean(debiased, gap**2)
        with pytest.raises(AssertionError):
            assert_mean(plain, gap**2)


def test_the_maximum_is_a_gap_and_empty_bins_have_none():
    probs = two_classes([0.95] * 99 + [0.6])
    labels = np.array([0] * 99 + [1])
    assert metrics.maximum_calibration_error(probs, labels) == pytest.approx(0.6)
    rest = metrics.maximum_calibration_error(probs[:99], labels[:99])
    assert rest == pytest.approx(0.05, abs=1e-6)


def test_classwise_error_sees_what_the_top_label_hides():
    probs = np.tile(np.float32([0.5, 0.5, 0.0]), (4, 1))
    labels = np.array([0, 0, 1, 1])  # calibrated
    assert metrics.classwise_calibration_error(probs, labels) == 0
    labels = np.array([0, 0, 2, 2])  # the top label still is right half the time
    assert metrics.expected_calibration_error(probs, labels) == 0
    assert metrics.classwise_calibration_error(probs, labels) == pytest.approx(1 / 3)


def test_a_threshold_leaves_out_the_small_probabilities():
    probs = np.float32([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0]])
    labels = np.array([0, 0])
    error = metrics.classwise_calibration_error(probs, labels, threshold=0.5)
    assert error == pytest.approx(0.1)
    error = metrics.classwise_calibration_error(probs, labels, threshold=0.05)
    assert error == pytest.approx(0.1)  # two classes, 0.1 off each


@pytest.mark.parametrize(
    "metric",
    [
        metrics.expected_calibration_error,
        metrics.maximum_calibration_error,
        metrics.adaptive_calibration_error,
        metrics.classwise_calibration_error,
        metrics.brier_score,
    ],
)
def test_a_label_that_names_no_class_is_never_counted_quietly(metric):
    probs = two_classes([0.8, 0.9])
    for label in (-1, 2):
        assert np.isnan(metric(probs, np.array([0, label])))


def test_leading_axes_are_batches():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), (2, 4, 5)).astype(np.float32)
    labels = rng.integers(0, 3, (2, 4, 5))
    assert metrics.expected_calibration_error(
        probs, labels
    ) == metrics.expected_calibration_error(probs.reshape(-1, 3), labels.ravel())


def test_arguments_that_do_not_fit_are_named():
    probs, labels = two_classes([0.8, 0.9]), np.array([0, 1])
    with pytest.raises(ValueError, match=r"labels must have the shape .*\(2,\)"):
        metrics.expected_calibration_error(probs, labels[:1])
    with pytest.raises(TypeError, match=r"labels must be integers, got .*float32"):
        metrics.expected_calibration_error(probs, labels.astype(np.float32))
    with pytest.raises(
        ValueError, match="weights must hold one number per example, of shape"
    ):
        metrics.expected_calibration_error(probs, labels, weights=np.ones(3))
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        metrics.expected_calibration_error(probs, labels, num_bins=0)
    with pytest.raises(TypeError, match=r"num_bins must be an integer, got 1\.5"):
        metrics.adaptive_calibration_error(probs, labels, num_bins=1.5)
    with pytest.raises(TypeError, match="probs must hold real numbers"):
        metrics.brier_score(probs.astype(np.complex64), labels)


@pytest.mark.parametrize("row", [[3.0, -2.0], [0.9, -3.0], [np.nan, 0.5]])
def test_no_calibration_error_hides_what_is_no_probability(row):
    probs, labels = jnp.float32([row, [0.55, 0.45]]), np.array([0, 1])
    fields = (
        *("debiased_squared_error", "expected_error", "maximum_error"),
        "root_mean_squared_error",
    )

    @jax.jit
    def errors(probs):
        bins = metrics.calibration_bins(probs, labels)
        return (
            *(getattr(bins, field) for field in fields),
            metrics.debiased_calibration_error(probs, np.array([2, 1])),
            metrics.adaptive_calibration_error(probs, labels),
            metrics.classwise_calibration_error(probs, labels),
        )

    assert np.isnan(errors(probs)).all()


def test_a_threshold_lies_between_0_and_1():
    probs, labels = two_classes([0.8, 0.9]), np.array([0, 1])
    error = lambda t: metrics.classwise_calibration_error(probs, labels, threshold=t)
    for outside in (np.nan, -1, 2.0, np.array(1.5)):
        with pytest.raises(ValueError, match="threshold must be between 0 and 1, got"):
            error(outside)
        assert np.isnan(error(jnp.float32(outside)))
    with pytest.raises(TypeError, match=r"threshold must be a number .* got 'a'"):
        error("a")
    assert error(0) == error(1e-9) == error(None)
    assert np.isnan(error(1))  # no probability is above it
    assert error(0.15) == error(jnp.float32(0.15))
