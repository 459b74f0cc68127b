"""Reliability, rejection and uncertainty: what metrics compute, with intervals."""

import io

import numpy as np
import pytest
from plots.cases import CONFIDENCE, CORRECT, LABELS, PROBS, RNG, X, texts

from jaxdrop import metrics, plots


def points(container):
    """Places of an errorbar, and the ends of its bars."""
    line, _, (segments,) = container.lines
    return line.get_data(), np.array(segments.get_segments())[:, :, 1].T


def test_the_reliability_diagram_shows_the_bins_of_the_metric():
    models = {"one": PROBS, "sharp": PROBS**3 / (PROBS**3).sum(-1, keepdims=True)}
    figure = plots.reliability_diagram(models, LABELS, num_bins=7)
    upper, lower = figure.axes
    for number, (name, probs) in enumerate(models.items()):
        bins = metrics.calibration_bins(probs, LABELS, num_bins=7)
        filled = np.asarray(bins.weight) > 0
        drawn, (low, high) = points(upper.containers[number])
        expected = np.stack([bins.mean_confidence, bins.accuracy])[:, filled]
        np.testing.assert_allclose(drawn, expected, atol=1e-6)
        assert (low <= drawn[1]).all() and (drawn[1] <= high).all()
        share = lower.patches[number].get_data()
        np.testing.assert_allclose(share.values, bins.weight / 60, rtol=1e-6)
        np.testing.assert_allclose(share.edges, np.arange(8) / 7)
        error = metrics.expected_calibration_error(probs, LABELS, num_bins=7)
        assert f"{name}, ECE {error:.3f}" in texts(upper)
    assert texts(upper)[-1] == "bar: 95 % interval (Wilson)"
    assert lower.get_xlabel() == "confidence (7 bins)"


def test_bins_are_drawn_as_their_examples():
    halves = [
        metrics.calibration_bins(PROBS[part], LABELS[part], num_bins=7)
        for part in (slice(20), slice(20, None))
    ]
    bins = metrics.CalibrationBins(*(a + b for a, b in zip(*halves, strict=True)))
    drawn = plots.reliability_diagram({"one": bins})
    expected = plots.reliability_diagram({"one": PROBS}, LABELS, num_bins=7)
    for one, other in zip(drawn.axes, expected.axes, strict=True):
        assert one.get_xlabel() == other.get_xlabel()
    assert texts(drawn.axes[0]) == texts(expected.axes[0])
    ours, theirs = (points(f.axes[0].containers[0]) for f in (drawn, expected))
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(theirs), atol=1e-6)
    seven = {"a": halves[0], "b": metrics.calibration_bins(PROBS, LABELS)}
    for match, given in (
        (r"labels must be the right classes of probs, got None", (PROBS,)),
        (r"labels must be None for bins.* of shape \(60,\)", (bins, LABELS)),
        (r"equally many bins.* got the shapes \[\(7,\), \(15,\)\]", (seven,)),
    ):
        with pytest.raises(ValueError, match=match):
            plots.reliability_diagram(*given)


def test_intervals_of_accuracies_are_those_of_wilson():
    """16 of 20: 0.584 to 0.919; none of 20: 0 to 0.161 (Newcombe, 1998)."""
    probs = np.tile([0.75, 0.25], (20, 1))
    for right, expected in ((16, (0.584, 0.919)), (0, (0, 0.161))):
        labels = (np.arange(20) >= right).astype(int)
        for weights in (None, np.full(20, 3.0)):  # a common factor changes nothing
            figure = plots.reliability_diagram(
                probs, labels, num_bins=10, weights=weights
            )
            _, ends = points(figure.axes[0].containers[0])
            np.testing.assert_allclose(ends.ravel(), expected, atol=1e-3)
    uneven = np.where(np.arange(20) < 10, 1.0, 1e-6)  # as good as 10 examples
    few = plots.reliability_diagram(probs, labels, num_bins=10, weights=uneven)
    _, ends = points(few.axes[0].containers[0])
    np.testing.assert_allclose(ends.ravel(), (0, 0.278), atol=1e-3)


def test_the_rejection_curve_is_that_of_the_metric():
    scores = {"max probability": CONFIDENCE, "noise": RNG.random(60)}
    ax = plots.rejection_curve(scores, CORRECT, fewest=1).axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    ideal, random = ax.get_lines()[:2]
    for line, confidence in (
        *((lines[name], score) for name, score in scores.items()),
        (ideal, CORRECT),
    ):
        curve = metrics.accuracy_rejection(confidence, CORRECT)
        np.testing.assert_array_equal(line.get_data(), curve)
    assert random.get_ydata()[0] == pytest.approx(CORRECT.mean())
    assert texts(ax) == ["ideal", "random", *scores]


def test_models_have_ideal_orders_of_their_own():
    right = {"a": CORRECT, "b": ~CORRECT}
    scores = dict.fromkeys(right, CONFIDENCE)
    ax = plots.rejection_curve(scores, right).axes[0]
    levels = [ax.get_lines()[number].get_ydata()[0] for number in (1, 3)]
    np.testing.assert_allclose(levels, [CORRECT.mean(), 1 - CORRECT.mean()], atol=1e-6)
    assert texts(ax) == ["ideal", "random", "a", "b"]
    with pytest.raises(ValueError, match=r"correct must hold .* \['a'\] without 'b'"):
        plots.rejection_curve(scores, {"a": CORRECT})


@pytest.mark.parametrize(
    ("size", "fewest", "last"),
    [(60, None, 15), (600, None, 30), (60, 7, 7)],
)
def test_a_rejection_curve_ends_before_it_is_noise(size, fewest, last):
    score, right = RNG.random(size), RNG.random(size) < 0.8
    (ax,) = plots.rejection_curve({"s": score}, right, fewest=fewest).axes
    (line,) = (line for line in ax.get_lines() if line.get_label() == "s")
    remaining = size * (1 - line.get_xdata()[-1])
    assert remaining == pytest.approx(last, abs=0.01)


def test_groups_of_all_sizes_are_compared_by_their_shares():
    groups = {"few": RNG.normal(size=7), "many": RNG.normal(3, 1, 5000), "none": []}
    ax = plots.uncertainty_histogram(groups, num_bins=30, xlabel="nats").axes[0]
    shares = [patch.get_data().values.sum() for patch in ax.patches]
    np.testing.assert_allclose(shares, [1, 1, 1, 1, 0, 0])
    assert texts(ax) == ["few (7)", "many (5,000)", "none (0)"]
    assert ax.get_xlabel() == "nats"


def test_outliers_are_counted_and_do_not_set_the_axis():
    bulk = RNG.normal(size=200)
    groups = {"with": np.append(bulk, [1e6, -1e9, np.inf]), "small": [0.1, 0.2, 50]}
    (ax,) = plots.uncertainty_histogram(groups).axes
    low, high = ax.get_xlim()
    assert -8 < low <= bulk.min() and bulk.max() <= high < 8
    assert texts(ax) == ["with (203, 3 outside)", "small (3, 1 outside)"]
    (ax,) = plots.uncertainty_histogram(groups, xlim=(0.0, 60.0)).axes
    assert ax.get_xlim() == (0, 60) and "small (3)" in texts(ax)
    (ax,) = plots.uncertainty_histogram({"tail": RNG.exponential(size=500)}).axes
    assert ax.patches[0].get_data().values.sum() > 0.99
    with pytest.raises(ValueError, match=r"xlim must be \(low, high\) .* got \(1, 0\)"):
        plots.uncertainty_histogram(groups, xlim=(1, 0))


def test_infinite_and_equal_uncertainties_can_be_drawn():
    for values in (np.array([1.0, np.inf, np.nan]), np.zeros(4), np.array([])):
        figure = plots.uncertainty_histogram(values)
        figure.savefig(io.BytesIO(), format="png")


def test_bins_of_a_histogram_are_counted():
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        plots.uncertainty_histogram(X, num_bins=0)
    with pytest.raises(TypeError, match=r"num_bins must be an integer, got 2\.5"):
        plots.uncertainty_histogram(X, num_bins=2.5)


def test_probabilities_of_no_model_are_refused():
    with pytest.raises(ValueError, match="probs must hold the probabilities of a mod"):
        plots.reliability_diagram({}, LABELS)
