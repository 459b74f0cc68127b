"""Metrics of bins and curves against plain loops, on random and on awkward inputs."""

import itertools

import numpy as np
import pytest
from scipy import stats

from at_once import at_once
from jaxdrop import metrics

CLASSES = 3


def random(rng, n):
    return rng.dirichlet(np.ones(CLASSES), n), rng.integers(0, CLASSES, n), None


def weighted(rng, n):
    probs, labels, _ = random(rng, n)
    weights = rng.choice([0, 1, 2, 50], n)
    weights[0] = 3
    return probs, labels, weights


def tied(rng, n):
    """Probabilities that are edges of bins, few of them, with weights far apart."""
    rows = np.array([[4, 2, 2], [2, 4, 2], [1, 1, 6], [8, 0, 0], [4, 4, 0]]) / 8
    return rows[rng.integers(0, 5, n)], rng.integers(0, CLASSES, n), weights_of(rng, n)


def equal(rng, n):
    return np.tile([0.5, 0.25, 0.25], (n, 1)), rng.integers(0, CLASSES, n), None


def certain(rng, n):
    return np.eye(CLASSES)[rng.integers(0, CLASSES, n)], np.zeros(n, int), None


def crowded(rng, n):
    """Nearly all weight on one confidence, as in modern networks."""
    top = np.where(rng.random(n) < 0.8, 63 / 64, 1 - rng.integers(1, 32, n) / 64)
    probs = np.stack([top, 1 - top, 0 * top], -1)
    return probs, rng.integers(0, 2, n), weights_of(rng, n)


def weights_of(rng, n):
    return rng.integers(1, 9, n)


CASES = {
    f"{make.__name__} {n}": (make, n)
    for make in (random, weighted, tied, equal, certain, crowded)
    for n in (1, 13)
}
of_classes = pytest.mark.parametrize("case", CASES)


def classified(case):
    make, n = CASES[case]
    probs, labels, weights = make(np.random.default_rng(n), n)
    probs = probs.astype(np.float32)
    counts = np.ones(n, int) if weights is None else weights
    return (probs, labels), counts, {"weights": weights}


def of_equal_width(values, num_bins, weights):
    index = [
        sum(v >= np.float32(k / num_bins) for k in range(1, num_bins)) for v in values
    ]
    return np.array(index)


def of_equal_mass(values, num_bins, weights):
    """The middle of the ranks of a value, in integers, without any rounding."""
    index = []
    for value in values:
        below, through = weights[values < value].sum(), weights[values <= value].sum()
        index.append(
            min((below + through) * num_bins // (2 * weights.sum()), num_bins - 1)
        )
    return np.array(index)


def members(index, weights):
    for b in np.unique(index[weights > 0]):
        yield (index == b) & (weights > 0)


def mean(values, weights):
    return np.average(np.asarray(values, np.float64), weights=weights)


def calibration_gaps(confidence, hit, index, weights):
    """The mass of each bin that holds some, and its gap."""
    found = [
        (weights[m].sum(), mean(hit[m], weights[m]) - mean(confidence[m], weights[m]))
        for m in members(index, weights)
    ]
    mass, gap = np.array(found).T
    return mass, np.abs(gap)


@of_classes
@pytest.mark.parametrize("num_bins", [4, 7])
def test_errors_of_the_top_label(case, num_bins):
    (probs, labels), weights, given = classified(case)
    confidence, hit = probs.max(-1), probs.argmax(-1) == labels
    every = at_once(
        lambda *data: (
            metrics.expected_calibration_error(*data, num_bins=num_bins, **given),
            metrics.maximum_calibration_error(*data, num_bins=num_bins, **given),
            metrics.calibration_bins(*data, num_bins=num_bins, **given),
            metrics.adaptive_calibration_error(*data, num_bins=num_bins, **given),
        )
    )
    expected_error, largest, bins, adaptive = every(probs, labels)
    close = {"rtol": 1e-5, "atol": 1e-6}
    index = of_equal_width(confidence, num_bins, weights)
    mass, gap = calibration_gaps(confidence, hit, index, weights)
    np.testing.assert_allclose(expected_error, mean(gap, mass), **close)
    np.testing.assert_allclose(largest, gap.max(), **close)
    expected = np.sqrt(mean(gap**2, mass))
    np.testing.assert_allclose(bins.root_mean_squared_error, expected, **close)
    index = of_equal_mass(confidence, num_bins, weights)
    mass, gap = calibration_gaps(confidence, hit, index, weights)
    np.testing.assert_allclose(adaptive, mean(gap, mass), **close)


@of_classes
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("threshold", [None, 0.25])
def test_errors_of_every_class(case, adaptive, threshold):
    (probs, labels), weights, given = classified(case)
    errors = []
    for c in range(CLASSES):
        p = probs[:, c]
        above = np.ones(len(p), bool) if threshold is None else p > threshold
        kept = np.where(above, weights, 0)
        if kept.sum():
            binned = of_equal_mass if adaptive else of_equal_width
            index = binned(p, 5, kept)
            mass, gap = calibration_gaps(p, labels == c, index, kept)
            errors.append(mean(gap, mass))
    found = metrics.classwise_calibration_error(
        probs, labels, num_bins=5, adaptive=adaptive, threshold=threshold, **given
    )
    np.testing.assert_allclose(found, np.mean(errors), rtol=1e-5, atol=1e-6)


@of_classes
def test_the_parts_of_the_brier_score(case):
    (probs, labels), weights, given = classified(case)
    expected, total = np.zeros(4), weights.sum()
    for c in range(CLASSES):
        p, hit = probs[:, c].astype(np.float64), (labels == c).astype(np.float64)
        base = mean(hit, weights)
        expected[2] += base * (1 - base)
        for m in members(of_equal_width(probs[:, c], 6, weights), weights):
            w = weights[m]
            said, seen = mean(p[m], w), mean(hit[m], w)
            variance = mean((p[m] - said) ** 2, w)
            covariance = mean((p[m] - said) * (hit[m] - seen), w)
            within = variance - 2 * covariance
            parts = (said - seen) ** 2, (seen - base) ** 2, 0, within
            expected += w.sum() / total * np.array(parts)
    found = metrics.brier_decomposition(probs, labels, num_bins=6, **given)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    score = mean(((probs - np.eye(CLASSES)[labels]) ** 2).sum(-1), weights)
    np.testing.assert_allclose(found.score, score, rtol=1e-5, atol=1e-6)


SPREADS = {
    "apart": lambda rng, n: np.abs(rng.normal(size=n)) + 0.1,
    "tied": lambda rng, n: rng.choice([0.5, 0.5, 0.5, 1.0, 4.0], n),
    "equal": lambda rng, n: np.full(n, 2.0),
    "of all sizes": lambda rng, n: 10.0 ** rng.integers(-6, 7, n),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("n", [1, 2, 13])
@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_of_normal_predictions(spread, n, weighted):
    rng = np.random.default_rng(n)
    std = SPREADS[spread](rng, n).astype(np.float32)
    center, z = rng.normal(size=(2, n))
    targets = (center + 2 * z * std).astype(np.float32)
    center = center.astype(np.float32)
    weights = weights_of(rng, n) if weighted else np.ones(n, int)
    found = metrics.regression_calibration(
        center,
        std,
        targets,
        num_bins=4,
        num_levels=9,
        weights=weights if weighted else None,
    )
    levels = np.arange(1, 10) / 10
    below = targets <= center + std * stats.norm.ppf(levels)[:, None]
    off = np.abs([mean(b, weights) for b in below] - levels)
    masses, relative, absolute = [], [], []
    for m in members(of_equal_mass(std, 4, weights), weights):
        error = targets[m].astype(np.float64) - center[m]
        predicted = mean(std[m].astype(np.float64) ** 2, weights[m])
        seen = mean(error**2, weights[m])
        masses.append(weights[m].sum())
        relative.append(abs(1 - np.sqrt(seen / predicted)))
        absolute.append(abs(seen - predicted))
    expected = off.mean(), np.sqrt((off**2).mean()), np.mean(relative)
    summaries = found.mace, found.rmsce, found.ence
    np.testing.assert_allclose(summaries, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.uce, mean(absolute, masses), rtol=1e-5)


CONFIDENCES = {
    "one": [0.5],
    "two": [0.5, 0.5],
    "no ties": [0.3, 0.9, 0.1, 0.7, 0.5],
    "ties": [2, 2, 1, 1, 1, 3],
    "all the same": [1, 1, 1, 1, 1],
    "infinite": [np.inf, -np.inf, 0.0, np.inf, -np.inf, -0.0],
    "close": [1, 1 + 2**-23, 1 - 2**-24, 1, 1 - 2**-24],
}
LOSSES = {
    "random": lambda rng, n: rng.exponential(size=n),
    "errors": lambda rng, n: rng.integers(0, 2, n),
    "none": lambda rng, n: np.zeros(n),
    "of all sizes": lambda rng, n: 10.0 ** rng.integers(-6, 7, n),
}


@pytest.mark.parametrize("confidences", CONFIDENCES)
@pytest.mark.parametrize("kind", LOSSES)
def test_curves_are_the_mean_over_all_orders(confidences, kind):
    confidence = np.float32(CONFIDENCES[confidences])
    n = confidence.size
    losses = LOSSES[kind](np.random.default_rng(n), n).astype(np.float32)

    def mean_risk(confidence):
        orders = [
            list(order)
            for order in itertools.permutations(range(n))
            if (np.diff(confidence[list(order)]) <= 0).all()
        ]
        return np.mean([np.cumsum(losses[o], dtype=float) for o in orders], 0) / places

    confidence = stats.rankdata(confidence)  # infinities have no differences
    places = np.arange(1, n + 1)
    risk, best = mean_risk(confidence), mean_risk(-losses)
    given = np.float32(CONFIDENCES[confidences]), losses
    close = {"rtol": 1e-5, "atol": 1e-6 * losses.max()}
    share = losses / max(losses.max(), 1)
    kinds = ("risk", "excess", "generalized")
    curve, areas, rejection = at_once(
        lambda confidence, losses: (
            metrics.risk_coverage(confidence, losses),
            {kind: metrics.aurc(confidence, losses, kind=kind) for kind in kinds},
            metrics.accuracy_rejection(confidence, 1 - share),
        )
    )(*given)
    np.testing.assert_allclose(curve.coverage, places / n, rtol=1e-6)
    np.testing.assert_allclose(curve.risk, risk, **close)
    for name, area in (
        ("risk", risk.mean()),
        ("excess", risk.mean() - best.mean()),
        ("generalized", (risk * places / n).mean()),
    ):
        np.testing.assert_allclose(areas[name], area, **close)
    kept = 1 - risk[::-1] / max(losses.max(), 1)
    np.testing.assert_allclose(rejection.accuracy, kept, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rejection.rejected, 1 - places[::-1] / n, atol=1e-6)
