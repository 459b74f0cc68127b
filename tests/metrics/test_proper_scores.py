"""Proper scores, their extremes and their parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxdrop import metrics


def test_brier_score_runs_from_zero_to_two():
    sure = np.eye(3, dtype=np.float32)
    assert metrics.brier_score(sure, np.arange(3)) == 0
    assert metrics.brier_score(sure, np.array([1, 2, 0])) == 2


@pytest.mark.parametrize("num_bins", [5, 15])
@pytest.mark.parametrize("weights", [None, np.arange(1.0, 201.0, dtype=np.float32)])
def test_the_parts_of_the_brier_score_add_up(num_bins, weights):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), 200).astype(np.float32)
    labels = rng.integers(0, 4, 200)
    parts = metrics.brier_decomposition(
        probs, labels, num_bins=num_bins, weights=weights
    )
    score = metrics.brier_score(probs, labels, weights=weights)
    assert abs(parts.score - score) < 1e-6
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0


def test_the_parts_are_murphys_where_forecasts_take_few_values():
    p = np.repeat(np.float32([0.2, 0.6]), [10, 10])
    labels = 1 - np.concatenate([np.arange(10) < 3, np.arange(10) < 5]).astype(int)
    parts = metrics.brier_decomposition(np.stack([p, 1 - p], -1), labels, num_bins=10)
    # By hand, for two classes: frequencies .3 and .5, base rate .4.
    expected = [(0.1**2 + 0.1**2), (0.1**2 + 0.1**2), 2 * 0.4 * 0.6, 0.0]
    np.testing.assert_allclose(parts, expected, atol=1e-6)


def test_likelihood_takes_logits_and_log_probabilities_alike():
    rng = np.random.default_rng(0)
    logits = 5 * rng.normal(size=(50, 6)).astype(np.float32)
    labels = rng.integers(0, 6, 50)
    expected = -special.log_softmax(logits.astype(np.float64), -1)[range(50), labels]
    for given in (logits, jax.nn.log_softmax(logits), logits + 100):
        score = metrics.negative_log_likelihood(given, labels)
        assert score == pytest.approx(expected.mean(), rel=1e-5)


def test_likelihood_survives_probabilities_that_float32_cannot_hold():
    logits = np.float32([[0.0, -200.0], [0.0, -1e4]])
    score = metrics.negative_log_likelihood(logits, np.array([1, 1]))
    assert score == pytest.approx((200 + 1e4) / 2)
    impossible = np.float32([[0.0, -np.inf]])
    assert metrics.negative_log_likelihood(impossible, np.array([1])) == np.inf
    assert metrics.negative_log_likelihood(impossible, np.array([0])) == 0


def test_the_likelihood_of_the_mean_is_at_least_the_mean_likelihood():
    rng = np.random.default_rng(0)
    members = special.log_softmax(3 * rng.normal(size=(20, 100, 5)), -1)
    labels = rng.integers(0, 5, 100)
    of_mean = special.logsumexp(members, axis=0) - np.log(20)
    score = jax.jit(jax.vmap(metrics.negative_log_likelihood, in_axes=(0, None)))
    scores = np.concatenate([of_mean[None], members]).astype(np.float32)
    scores = np.asarray(score(scores, labels))
    assert scores[0] < scores[1:].mean()


def test_a_label_that_names_no_class_gives_nan():
    assert np.isnan(metrics.negative_log_likelihood(np.zeros((1, 2)), np.array([-1])))
    assert np.isnan(metrics.negative_log_likelihood(np.zeros((1, 2)), np.array([2])))


def test_scores_have_gradients():
    labels = np.array([0, 2])
    logits = np.float32([[1.0, 2.0, 3.0], [0.0, 1.0, -np.inf]])
    for metric in (metrics.brier_score, metrics.negative_log_likelihood):
        loss = lambda x, m=metric: m(jax.nn.softmax(x), labels)
        assert np.isfinite(jax.jit(jax.grad(loss))(logits)).all()


@pytest.mark.parametrize("row", [[3.0, -2.0], [0.9, -3.0], [1.5, 0.0]])
def test_what_is_not_a_probability_raises_on_the_host_and_gives_nan_on_the_device(row):
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match="probs must be probabilities between 0 and 1"):
        metrics.brier_score(np.float32([row, [0.5, 0.5]]), labels)
    probs = jnp.asarray(np.float32([row, [0.5, 0.5]]))
    score, error, parts = jax.jit(
        lambda *data: (
            metrics.brier_score(*data),
            metrics.expected_calibration_error(*data),
            metrics.brier_decomposition(*data),
        )
    )(probs, labels)
    assert np.isnan(score) and np.isnan(error) and np.isnan(parts).any()
    padding = np.float32([0, 1])
    assert metrics.brier_score(probs, labels, weights=padding) == 0.5


def test_a_negative_weight_gives_nan():
    probs, labels = np.float32([[0.7, 0.3], [0.5, 0.5]]), np.array([0, 1])
    weights = np.float32([1, -0.5])
    assert np.isnan(metrics.brier_score(probs, labels, weights=weights))
    found = metrics.expected_calibration_error(probs, labels, weights=weights)
    assert np.isnan(found)


def test_the_score_of_the_mean_is_not_the_mean_of_the_scores():
    samples, labels = np.float32([[[1, 0]], [[0, 1]]]), np.array([0])
    assert metrics.brier_score(samples.mean(0), labels) == 0.5
    assert np.mean([metrics.brier_score(p, labels) for p in samples]) == 1
