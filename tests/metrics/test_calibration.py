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


def test_a_calibrated_model_of_a_million_examples_has_no_error(key):
    of_label, of_hit = jax.random.split(key)
    p = jax.random.uniform(of_label, (10**6,), minval=0.5)
    labels = (jax.random.uniform(of_hit, p.shape) >= p).astype(jnp.int32)
    error = jax.jit(metrics.expected_calibration_error)(
        jnp.stack([p, 1 - p], -1), labels
    )
    assert error < 0.003


def test_the_debiased_error_of_a_calibrated_model_is_zero(key):
    """Within five standard errors, over repetitions of a hundred thousand examples."""
    debiased = jax.jit(metrics.debiased_calibration_error)

    def repeat(key):
        of_label, of_hit = jax.random.split(key)
        p = jax.random.uniform(of_label, (10**5,), minval=0.5)
        labels = (jax.random.uniform(of_hit, p.shape) >= p).astype(jnp.int32)
        return debiased(jnp.stack([p, 1 - p], -1), labels)

    found = np.array([repeat(k) for k in jax.random.split(key, 20)])
    assert_mean(found, 0.0)
    assert np.abs(found).max() < 1e-4  # of squares; the plain ones are all above 0


def test_sums_over_a_million_equal_confidences_do_not_drift():
    p = np.full(10**6, 0.999, np.float32)
    error = metrics.expected_calibration_error(two_classes(p), np.zeros(p.size, int))
    assert abs(error - (1 - np.float64(p[0]))) < 2e-5  # a running sum is off by 5e-4


@pytest.mark.parametrize("weighted", [False, True])
def test_the_debiased_error_is_right_on_average_and_the_plain_one_is_not(weighted, key):
    p = jnp.repeat(jnp.linspace(0.71, 0.98, 10), 3)  # three examples in each bin
    weights = jnp.tile(jnp.array([1.0, 2.0, 5.0]), 10) if weighted else None

    def errors(key, gap):
        labels = (jax.random.uniform(key, p.shape) >= p - gap).astype(jnp.int32)
        bins = metrics.calibration_bins(
            jnp.stack([p, 1 - p], -1), labels, num_bins=50, weights=weights
        )
        return bins.debiased_squared_error, bins.root_mean_squared_error**2

    repeat = jax.jit(jax.vmap(errors, in_axes=(0, None)))
    for gap in (0.0, 0.2):
        debiased, plain = repeat(jax.random.split(key, 5000), gap)
        assert_mean(debiased, gap**2)
        with pytest.raises(AssertionError):
            assert_mean(plain, gap**2)


def test_the_maximum_is_a_gap_and_empty_bins_have_none():
    probs = two_classes([0.95] * 99 + [0.6])
    labels = np.array([0] * 99 + [1])
    assert metrics.maximum_calibration_error(probs, labels) == pytest.approx(0.6)
    rest = metrics.maximum_calibration_error(probs[:99], labels[:99])
    assert rest == pytest.approx(0.05, abs=1e-6)


def test_bins_of_seven_batches_add_up():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(5), 700).astype(np.float32)
    labels = rng.integers(0, 5, 700)
    whole = metrics.calibration_bins(probs, labels)
    parts = [
        metrics.calibration_bins(p, l)
        for p, l in zip(np.split(probs, 7), np.split(labels, 7), strict=True)
    ]
    streamed = jax.tree.map(lambda *sums: sum(sums), *parts)
    for name in ("expected_error", "maximum_error", "debiased_squared_error"):
        assert abs(getattr(streamed, name) - getattr(whole, name)) < 1e-6


def test_adaptive_bins_hold_equally_many():
    p = np.float32([0.90, 0.91, 0.98, 0.99])
    labels = np.array([0, 0, 0, 1])
    two_bins = metrics.adaptive_calibration_error(two_classes(p), labels, num_bins=2)
    assert two_bins == pytest.approx((0.095 + abs(0.5 - 0.985)) / 2)


def test_adaptive_bins_survive_ties_and_few_examples():
    labels = np.array([0, 0, 1])
    for p in ([0.8, 0.8, 0.8], [0.8, 0.9, 0.9]):
        error = metrics.adaptive_calibration_error(two_classes(p), labels, num_bins=15)
        assert jnp.isfinite(error)
    tied = metrics.adaptive_calibration_error(two_classes([0.8] * 3), labels)
    assert tied == pytest.approx(0.8 - 2 / 3)
    order = [2, 0, 1]
    shuffled = metrics.adaptive_calibration_error(two_classes([0.8] * 3), labels[order])
    assert shuffled == tied


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
        assert jnp.isnan(metric(probs, np.array([0, label])))


def test_logits_in_place_of_probabilities_are_named_or_give_nan():
    logits, labels = np.float32([[3.0, -1.0], [0.2, 0.1]]), np.array([0, 0])
    for metric in (
        metrics.expected_calibration_error,
        metrics.classwise_calibration_error,
        metrics.brier_score,
    ):
        assert jnp.isnan(metric(jnp.asarray(logits), labels))
        with pytest.raises(ValueError, match=r"from -1 to 3\. If they are logits, use"):
            metric(logits, labels)
        assert metric(logits, labels, weights=np.array([0, 1])) >= 0  # not an example


def test_numpy_keeps_the_most_probable_class():
    probs = np.array([[0.5 - 1e-10, 0.5 + 1e-10], [0.5 + 1e-10, 0.5 - 1e-10]])
    wrong = metrics.expected_calibration_error(probs, np.array([0, 1]))
    right = metrics.expected_calibration_error(probs, np.array([1, 0]))
    np.testing.assert_allclose([wrong, right], 0.5, rtol=1e-6)
    assert metrics.calibration_bins(probs, np.array([1, 0])).correct.sum() == 2


def test_numpy_confidences_that_float32_makes_equal_are_binned_apart():
    confidence = 0.5 + np.array([1e-10, 2e-10, 3e-10, 4e-10])
    probs, labels = np.stack([confidence, 1 - confidence], -1), np.array([1, 1, 0, 0])
    error = metrics.adaptive_calibration_error(probs, labels, num_bins=2)
    assert error == pytest.approx(0.5)  # wrong in one bin, right in the other
    classwise = metrics.classwise_calibration_error
    error = classwise(probs, labels, num_bins=2, adaptive=True)
    assert error == pytest.approx(0.5)


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
    bins = metrics.calibration_bins(probs, labels)
    for field in ("debiased_squared_error", "expected_error", "maximum_error"):
        assert jnp.isnan(getattr(bins, field))
    assert jnp.isnan(bins.root_mean_squared_error)
    assert jnp.isnan(metrics.debiased_calibration_error(probs, np.array([2, 1])))
    assert jnp.isnan(metrics.adaptive_calibration_error(probs, labels))
    assert jnp.isnan(metrics.classwise_calibration_error(probs, labels))


def test_a_threshold_lies_between_0_and_1():
    probs, labels = two_classes([0.8, 0.9]), np.array([0, 1])
    error = lambda t: metrics.classwise_calibration_error(probs, labels, threshold=t)
    for outside in (np.nan, -1, 2.0, np.array(1.5)):
        with pytest.raises(ValueError, match="threshold must be between 0 and 1, got"):
            error(outside)
        assert jnp.isnan(error(jnp.float32(outside)))
    with pytest.raises(TypeError, match=r"threshold must be a number .* got 'a'"):
        error("a")
    assert error(0) == error(1e-9) == error(None)
    assert jnp.isnan(error(1))  # no probability is above it
    assert error(0.15) == error(jnp.float32(0.15))
