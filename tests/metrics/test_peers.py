"""Metrics, acquisition and statistics against scikit-learn, SciPy and other peers.

On random, tied and degenerate inputs. torchmetrics and scoringrules are not among the
requirements of the tests; where they are not installed, their tests are left out.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from jaxdrop import acquisition, mc, metrics

CLOSE = {"rtol": 2e-5, "atol": 2e-6}
SEEDS = range(3)


def scores(kind, rng, n=60):
    """Scores and labels of two classes, both of which occur."""
    drawn = {
        "random": rng.normal(size=n),
        "tied": rng.integers(0, 4, n) / 4,
        "equal": np.full(n, 0.5),
        "separable": np.linspace(0, 1, n),
        "reversed": -np.linspace(0, 1, n),
    }[kind]
    labels = (np.arange(n) >= n // 2).astype(np.int32)
    if kind in ("random", "tied"):
        labels = rng.permutation(labels)
    return drawn.astype(np.float32), labels, rng.integers(1, 5, n).astype(np.float32)


KINDS = ["random", "tied", "equal", "separable", "reversed"]
of_scores = pytest.mark.parametrize("kind", KINDS)
of_seeds = pytest.mark.parametrize("seed", SEEDS)


@of_scores
@of_seeds
@pytest.mark.parametrize("weighted", [False, True])
def test_detection_is_that_of_scikit_learn(kind, seed, weighted):
    given, labels, weights = scores(kind, np.random.default_rng(seed))
    ours = {"weights": weights} if weighted else {}
    theirs = {"sample_weight": weights} if weighted else {}
    for our, their in (
        (metrics.auroc, sklearn.roc_auc_score),
        (metrics.average_precision, sklearn.average_precision_score),
    ):
        expected = their(labels, given, **theirs)
        np.testing.assert_allclose(our(given, labels, **ours), expected, **CLOSE)
    rates, hits, _ = sklearn.roc_curve(labels, given, drop_intermediate=False, **theirs)
    expected = rates[np.argmax(hits >= 0.9 - 1e-7)]
    found = metrics.fpr_at_tpr(given, labels, tpr=0.9, **ours)
    np.testing.assert_allclose(found, expected, **CLOSE)


def classified(kind, rng, n=50, classes=4):
    """Probabilities and labels of all classes."""
    rows = {
        "random": rng.dirichlet(np.ones(classes), n),
        "tied": np.tile(np.float64([4, 2, 1, 1]) / 8, (n, 1)),
        "equal": np.full((n, classes), 1 / classes),
        "certain": np.eye(classes)[np.arange(n) % classes] * 0.97 + 0.0075,
    }[kind]
    labels = rng.permutation(np.arange(n) % classes).astype(np.int32)
    return rows.astype(np.float32), labels


of_classes = pytest.mark.parametrize("kind", ["random", "tied", "equal", "certain"])


@of_classes
@of_seeds
def test_scores_of_classes_are_those_of_scikit_learn(kind, seed):
    rng = np.random.default_rng(seed)
    probs, labels = classified(kind, rng)
    weights = rng.integers(1, 5, len(labels)).astype(np.float32)
    for ours, theirs in (({}, {}), ({"weights": weights}, {"sample_weight": weights})):
        wide = np.float64(probs)
        expected = sklearn.log_loss(labels, wide / wide.sum(1)[:, None], **theirs)
        found = metrics.negative_log_likelihood(np.log(probs), labels, **ours)
        np.testing.assert_allclose(found, expected, **CLOSE)
        hit = np.eye(probs.shape[1])[labels]
        each = ((probs - hit) ** 2).sum(1)
        expected = np.average(each, weights=theirs.get("sample_weight"))
        found = metrics.brier_score(probs, labels, **ours)
        np.testing.assert_allclose(found, expected, **CLOSE)


@of_seeds
def test_the_brier_score_of_two_classes_is_twice_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    p, labels = rng.random(40).astype(np.float32), rng.integers(0, 2, 40)
    found = metrics.brier_score(np.stack([1 - p, p], -1), labels)
    expected = 2 * sklearn.brier_score_loss(labels, p)
    np.testing.assert_allclose(found, expected, **CLOSE)


def predicted(kind, rng, n=40):
    """Means, deviations and targets."""
    mean, targets = rng.normal(size=(2, n))
    std = {
        "random": rng.gamma(2, size=n) + 0.05,
        "tied": rng.choice([0.5, 1.0], n),
        "equal": np.ones(n),
    }[kind]
    if kind == "equal":
        targets = mean
    return tuple(np.float32(array) for array in (mean, std, targets))


of_spreads = pytest.mark.parametrize("kind", ["random", "tied", "equal"])


@of_spreads
@of_seeds
def test_quantiles_and_intervals_are_those_of_scikit_learn(kind, seed):
    mean, std, targets = predicted(kind, np.random.default_rng(seed))
    for level in (0.05, 0.5, 0.9):
        expected = sklearn.mean_pinball_loss(targets, mean, alpha=level)
        found = metrics.pinball_loss(mean, targets, level=level)
        np.testing.assert_allclose(found, expected, **CLOSE)
    below, above = (stats.norm.ppf(q, mean, std) for q in (0.1, 0.9))
    ends = np.float32(below), np.float32(above)
    losses = [
        sklearn.mean_pinball_loss(targets, end, alpha=q)
        for end, q in zip(ends, (0.1, 0.9), strict=True)
    ]
    found = metrics.winkler_score(*ends, targets, alpha=0.2)
    np.testing.assert_allclose(found, sum(losses) * 2 / 0.2, **CLOSE)


@of_spreads
@of_seeds
def test_continuous_scores_are_those_of_scoringrules(kind, seed):
    peer = pytest.importorskip("scoringrules", reason="scoringrules is not installed")
    rng = np.random.default_rng(seed)
    mean, std, targets = predicted(kind, rng)
    expected = peer.crps_normal(*np.float64((targets, mean, std))).mean()
    found = metrics.crps_gaussian(mean, std, targets)
    np.testing.assert_allclose(found, expected, **CLOSE)
    samples = np.float32(mean[:, None] + std[:, None] * rng.normal(size=(len(mean), 7)))
    if kind == "tied":
        samples = np.round(samples)
    for fair, name in ((False, "nrg"), (True, "fair")):
        expected = peer.crps_ensemble(
            np.float64(targets), np.float64(samples), estimator=name
        ).mean()
        found = metrics.crps_samples(samples, targets, axis=-1, fair=fair)
        np.testing.assert_allclose(found, expected, **CLOSE)


@of_classes
@of_seeds
def test_calibration_is_that_of_torchmetrics(kind, seed):
    peer = pytest.importorskip(
        "torchmetrics.functional.classification", reason="torchmetrics is not installed"
    )
    import torch

    probs, labels = classified(kind, np.random.default_rng(seed))
    probs = probs + np.float32(1e-4) * np.arange(4)[::-1]  # apart from edges of bins
    probs = (probs / probs.sum(1, keepdims=True)).astype(np.float32)
    given = torch.tensor(probs), torch.tensor(labels, dtype=torch.long)
    bins = metrics.calibration_bins(jnp.asarray(probs), labels, num_bins=10)
    for norm, found in (
        ("l1", metrics.expected_calibration_error(probs, labels, num_bins=10)),
        ("max", metrics.maximum_calibration_error(probs, labels, num_bins=10)),
        ("l2", bins.root_mean_squared_error),
    ):
        expected = peer.multiclass_calibration_error(
            *given, num_classes=4, n_bins=10, norm=norm
        )
        np.testing.assert_allclose(found, float(expected), rtol=1e-4, atol=1e-5)


@of_scores
@of_seeds
def test_detection_is_that_of_torchmetrics(kind, seed):
    peer = pytest.importorskip(
        "torchmetrics.functional.classification", reason="torchmetrics is not installed"
    )
    import torch

    given, labels, _ = scores(kind, np.random.default_rng(seed))
    inside = (given - given.min() + 0.5) / (np.ptp(given) + 1)  # a probability
    tensors = torch.tensor(inside), torch.tensor(labels, dtype=torch.long)
    for our, their in (
        (metrics.auroc, peer.binary_auroc),
        (metrics.average_precision, peer.binary_average_precision),
    ):
        expected = float(their(*tensors))
        np.testing.assert_allclose(our(inside, labels), expected, rtol=1e-4, atol=1e-5)


@of_spreads
@of_seeds
def test_scores_of_quantiles_and_intervals_are_those_of_scoringrules(kind, seed):
    peer = pytest.importorskip("scoringrules", reason="scoringrules is not installed")
    mean, std, targets = predicted(kind, np.random.default_rng(seed))
    low, high = mean - std, mean + std
    expected = peer.interval_score(*np.float64((targets, low, high)), 0.3).mean()
    found = metrics.winkler_score(low, high, targets, alpha=0.3)
    np.testing.assert_allclose(found, expected, **CLOSE)
    expected = peer.quantile_score(*np.float64((targets, mean)), 0.2).mean()
    found = metrics.pinball_loss(mean, targets, level=0.2)
    np.testing.assert_allclose(found, expected, **CLOSE)


@of_spreads
def test_coverage_width_and_sharpness_are_weighted_averages(kind):
    rng = np.random.default_rng(0)
    mean, std, targets = predicted(kind, rng)
    low, high = mean - std, mean + std
    weights = rng.integers(0, 4, len(mean)).astype(np.float32)
    for found, values in (
        (metrics.interval_coverage, abs(targets - mean) <= std),
        (metrics.interval_width, 2 * np.float64(std)),
    ):
        ends = (low, high, targets)[: 3 if found is metrics.interval_coverage else 2]
        expected = np.average(values, weights=weights)
        np.testing.assert_allclose(found(*ends, weights=weights), expected, **CLOSE)
    expected = np.sqrt(np.average(np.square(np.float64(std)), weights=weights))
    found = metrics.sharpness(std, weights=weights)
    np.testing.assert_allclose(found, expected, **CLOSE)


@of_spreads
def test_observed_shares_are_those_below_quantiles_of_scipy(kind):
    mean, std, targets = predicted(kind, np.random.default_rng(0))
    found = metrics.regression_calibration(mean, std, targets, num_levels=10)
    below = stats.norm.ppf(np.arange(1, 11)[:, None] / 11, *np.float64((mean, std)))
    np.testing.assert_allclose(found.observed, (targets <= below).mean(1), **CLOSE)


@of_seeds
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_errors_of_bins_are_those_of_scikit_learn(strategy, seed):
    probs, labels = classified("random", np.random.default_rng(seed))
    expected = []
    for p, hit in zip(probs.T, np.eye(4)[labels].T, strict=True):
        shares, said = calibration_curve(hit, p, n_bins=5, strategy=strategy)
        edges = np.linspace(0, 1, 6)
        edges = np.quantile(p, edges) if strategy == "quantile" else edges
        number = np.histogram(p, edges)[0]
        number = number[number > 0]
        expected.append((number * abs(shares - said)).sum() / len(p))
    found = metrics.classwise_calibration_error(
        probs, labels, num_bins=5, adaptive=strategy == "quantile"
    )
    np.testing.assert_allclose(found, np.mean(expected), **CLOSE)


@of_seeds
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_temperature_is_the_optimum_of_scipy(scale, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 60)
    logits = 2 * rng.normal(size=(60, 4)) + 1.5 * np.eye(4)[labels]

    def loss(log_temperature):
        log_probs = special.log_softmax(logits / np.exp(log_temperature), -1)
        return -log_probs[np.arange(60), labels].mean()

    best = optimize.minimize_scalar(
        loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-7}
    )
    found = metrics.temperature_scaling(np.float32(scale * logits), labels)
    np.testing.assert_allclose(found, scale * np.exp(best.x), rtol=1e-4)


@of_seeds
def test_curves_are_the_accuracy_of_scikit_learn_on_those_that_are_kept(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.permutation(30).astype(np.float32)
    truth, said = rng.integers(0, 3, (2, 30))
    order = np.argsort(-confidence)
    kept = [
        sklearn.accuracy_score(truth[order[:n]], said[order[:n]]) for n in range(1, 31)
    ]
    found = metrics.accuracy_rejection(confidence, truth == said)
    np.testing.assert_allclose(found.accuracy, kept[::-1], **CLOSE)
    curve = metrics.risk_coverage(confidence, truth != said)
    np.testing.assert_allclose(curve.risk, 1 - np.array(kept), **CLOSE)
    area = metrics.aurc(confidence, truth != said)
    np.testing.assert_allclose(area, 1 - np.mean(kept), **CLOSE)


LOGITS = {
    "random": np.random.default_rng(0).normal(size=(12, 5, 3)),
    "tied": np.eye(3)[np.random.default_rng(1).integers(0, 3, (12, 5))],
    "equal": np.zeros((12, 5, 3)),
    "certain": 60 * np.eye(3)[np.random.default_rng(2).integers(0, 3, (12, 5))],
}


@pytest.mark.parametrize("kind", LOGITS)
def test_acquisition_is_that_of_scipy_and_scikit_learn(kind):
    logits = LOGITS[kind].astype(np.float32)
    p = special.softmax(np.float64(logits), -1)
    mean = np.broadcast_to(p.mean(0), p.shape)
    ranked = np.sort(p.mean(0), -1)
    joint = np.einsum("tnc,tmd->nmcd", p, p) / 12
    counts = np.rint(1e9 * joint).astype(np.int64)  # which scikit-learn takes
    shared = lambda table: sklearn.mutual_info_score(None, None, contingency=table)
    pairs = [[shared(of_pair) for of_pair in of_point] for of_point in counts]
    votes = stats.mode(logits.argmax(-1), axis=0).count
    for found, expected in (
        (acquisition.bald(logits), stats.entropy(p, mean, axis=-1).mean(0)),
        (acquisition.max_entropy(logits), stats.entropy(p.mean(0), axis=-1)),
        (acquisition.variation_ratio(logits), 1 - votes / 12),
        (acquisition.margin(logits), 1 - (ranked[:, -1] - ranked[:, -2])),
        (acquisition.epig(logits, logits), np.mean(pairs, -1)),
    ):
        np.testing.assert_allclose(found, expected, **CLOSE)


def reduced(reducer, samples):
    """Statistics of given samples."""
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), samples)
    valid = np.ones(len(jax.tree.leaves(samples)[0]), bool)

    @jax.jit
    def found(samples):
        state = reducer.update(reducer.init(one), samples, valid)
        return reducer.finalize(state)

    return found(samples)


@pytest.mark.parametrize("kind", LOGITS)
def test_statistics_of_samples_are_those_of_scipy(kind):
    logits = jnp.asarray(LOGITS[kind], jnp.float32)
    found = reduced(mc.moments(), logits)
    described = stats.describe(np.float64(logits), ddof=1)
    np.testing.assert_allclose(found["mean"], described.mean, **CLOSE)
    np.testing.assert_allclose(found["var"], described.variance, **CLOSE)
    votes = stats.mode(np.asarray(logits).argmax(-1), axis=0)
    np.testing.assert_array_equal(reduced(mc.votes(), logits)["mode"], votes.mode)
    p = special.softmax(np.float64(logits), -1)
    found = reduced(mc.categorical(), logits)
    for name, expected in (
        ("predictive_entropy", stats.entropy(p.mean(0), axis=-1)),
        ("expected_entropy", stats.entropy(p, axis=-1).mean(0)),
    ):
        np.testing.assert_allclose(found[name], expected, **CLOSE)


@of_seeds
def test_the_density_of_a_mixture_is_that_of_scoringrules(seed):
    peer = pytest.importorskip("scoringrules", reason="scoringrules is not installed")
    rng = np.random.default_rng(seed)
    mean, targets = rng.normal(size=(8, 5)), rng.normal(size=5)
    std = rng.gamma(2, size=(8, 5)) + 0.1
    samples = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    found = reduced(mc.gaussian_mixture(spread="std", targets=targets), samples)
    expected = -peer.logs_mixnorm(targets, mean.T, std.T)
    np.testing.assert_allclose(found["log_density"], expected, rtol=1e-4, atol=1e-5)
