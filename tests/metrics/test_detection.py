"""Detection metrics against scikit-learn, with ties, and where nothing is defined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn

from jaxdrop import metrics


@pytest.fixture(scope="module", params=["no ties", "ties"])
def sets(request):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 200))
    labels = (scores + rng.normal(size=scores.shape) > 0.5).astype(int)
    weights = rng.random(scores.shape)
    return (scores.round(1) if request.param == "ties" else scores), labels, weights


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn(weighted, sets):
    scores, labels, weights = sets
    weights = weights if weighted else np.ones_like(weights)

    def both(s, l, w):
        area = metrics.auroc(s, l, weights=w)
        return area, metrics.average_precision(s, l, weights=w)

    with jax.enable_x64(True):
        ours = jax.jit(jax.vmap(both))(scores, labels, weights)
    for reference, values in zip(
        (sklearn.roc_auc_score, sklearn.average_precision_score), ours, strict=True
    ):
        theirs = [
            reference(l, s, sample_weight=w)
            for s, l, w in zip(scores, labels, weights, strict=True)
        ]
        np.testing.assert_allclose(values, theirs, atol=1e-9)


def test_float32_is_enough_for_seven_digits(sets):
    scores, labels, _ = sets
    ours = jax.vmap(metrics.auroc)(scores.astype(np.float32), labels)
    theirs = [
        sklearn.roc_auc_score(l, s.astype(np.float32))
        for s, l in zip(scores, labels, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=2e-7)


def test_false_alarms_are_the_fewest_that_find_enough(sets):
    scores, labels, _ = sets
    for s, l in zip(scores[:5], labels[:5], strict=True):
        for tpr in (0.5, 0.95, 0.999):
            alarms, found, _ = sklearn.roc_curve(l, s, drop_intermediate=False)
            expected = alarms[found >= tpr].min()
            assert metrics.fpr_at_tpr(s, l, tpr=tpr) == pytest.approx(expected)


def test_nineteen_of_twenty_are_95_percent():
    scores = np.r_[np.arange(20, 0, -1), 1.5].astype(np.float32)
    labels = np.r_[np.ones(20, int), 0]
    assert metrics.fpr_at_tpr(scores, labels) == 0  # 19 are found without the alarm
    assert metrics.fpr_at_tpr(scores, labels, tpr=0.951) == 1


def test_scores_that_are_all_equal_say_nothing():
    labels = np.array([0, 1, 1, 0, 1])
    assert metrics.auroc(np.zeros(5), labels) == 0.5
    assert metrics.average_precision(np.zeros(5), labels) == pytest.approx(0.6)
    assert metrics.fpr_at_tpr(np.zeros(5), labels) == 1


def test_infinite_scores_are_ranked():
    scores = np.array([-np.inf, 0.0, np.inf])
    assert metrics.auroc(scores, np.array([0, 0, 1])) == 1
    assert metrics.fpr_at_tpr(scores, np.array([0, 0, 1])) == 0


@pytest.mark.parametrize(
    "metric", [metrics.auroc, metrics.average_precision, metrics.fpr_at_tpr]
)
def test_what_is_undefined_is_nan(metric):
    scores = np.array([0.1, 0.2, 0.3])
    assert jnp.isnan(metric(scores, np.zeros(3, int)))  # no positives
    assert jnp.isnan(metric(np.array([0.1, np.nan, 0.3]), np.array([0, 1, 1])))
    assert jnp.isnan(metric(scores, np.array([0, 1, 2])))  # no label
    if metric is not metrics.average_precision:
        assert jnp.isnan(metric(scores, np.ones(3, int)))  # no negatives


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.fpr_at_tpr])
@pytest.mark.parametrize("place", range(4))
def test_a_score_that_is_nan_leaves_it_unknown(metric, place):
    """Of whichever class, and wherever sorting would put it."""
    scores = np.array([0.1, 0.4, 0.35, 0.8], np.float32)
    labels = np.array([0, 0, 1, 1])
    assert np.isfinite(metric(scores, labels))
    scores[place] = np.nan
    assert np.isnan(metric(jnp.asarray(scores), labels))
    weights = np.arange(4) != place
    assert np.isfinite(metric(jnp.asarray(scores), labels, weights=weights))


def test_labels_must_be_bools_or_integers():
    with pytest.raises(TypeError, match="labels must be integers, got an array"):
        metrics.auroc(np.zeros(3), np.array([0.0, 1.0, 0.5]))
    with pytest.raises(ValueError, match=r"scores \(3,\), labels \(3, 1\)"):
        metrics.auroc(np.zeros(3), np.zeros((3, 1), int))


def test_all_positives_can_be_asked_for():
    scores, labels = np.array([0.9, 0.8, 0.3, 0.7, 0.2]), np.array([1, 1, 1, 0, 0])
    assert metrics.fpr_at_tpr(scores, labels, tpr=1) == 0.5
    assert metrics.fpr_at_tpr(scores, labels, tpr=jnp.float32(1)) == 0.5
    assert metrics.fpr_at_tpr(scores, labels[::-1].copy(), tpr=1) == 1


def test_the_share_to_find_lies_inside():
    scores, labels = np.float32([0.2, 0.7]), np.array([0, 1])
    with pytest.raises(ValueError, match=r"tpr must be between 0 and 1, got 1\.5"):
        metrics.fpr_at_tpr(scores, labels, tpr=np.array(1.5))
    for tpr in (1.5, -1.0, np.nan):
        assert np.isnan(metrics.fpr_at_tpr(scores, labels, tpr=jnp.float32(tpr)))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_integers_that_float32_cannot_tell_apart_are_no_ties(dtype):
    scores = np.array([2**24, 2**24 + 1, np.iinfo(dtype).min], dtype)
    labels = np.array([0, 1, 0])
    assert metrics.auroc(scores, labels) == 1
    assert metrics.average_precision(scores, labels) == 1
    assert metrics.fpr_at_tpr(scores, labels) == 0
    assert metrics.auroc(scores[None], labels[None]) == 1


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "metric", [metrics.auroc, metrics.average_precision, metrics.fpr_at_tpr]
)
def test_a_score_or_weight_that_is_not_valid_gives_nan_at_every_rank(metric, place):
    scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
    assert np.isfinite(metric(scores, labels))
    for wrong in (np.nan, -1.0):
        weights = np.ones(4)
        weights[place] = wrong
        assert np.isnan(metric(scores, labels, weights=weights)), wrong
    scores[place] = np.nan
    assert np.isnan(metric(scores, labels))


def test_labels_that_are_no_integers_are_refused_by_name():
    with pytest.raises(TypeError, match="labels must be integers"):
        metrics.auroc(jnp.ones(3), jnp.ones(3))
