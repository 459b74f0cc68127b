"""Probabilities and logits, and two classes made of one logit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from sklearn.metrics import roc_auc_score

from jaxdrop import acquisition, metrics

rng = np.random.default_rng(0)
Z, LABELS = 3 * rng.normal(size=200), rng.integers(0, 2, 200)
P = special.expit(Z)


def binary_entropy(p):
    return special.entr(p) + special.entr(1 - p)


@pytest.mark.parametrize("shape", [(200,), (200, 1), (4, 50), (4, 50, 1)])
def test_the_softmax_is_the_sigmoid(shape):
    logits = metrics.binary_logits(np.float32(Z.reshape(shape)))
    assert logits.shape == (*(shape[:-1] if shape[-1] == 1 else shape), 2)
    probs = jax.nn.softmax(logits).reshape(-1, 2)
    np.testing.assert_allclose(probs, np.stack([1 - P, P], -1), atol=1e-6)


def test_dtypes_stay_and_other_numbers_are_refused():
    assert metrics.binary_logits(jnp.zeros((2, 1), jnp.bfloat16)).dtype == jnp.bfloat16
    assert metrics.binary_logits(np.array([3_000_000_000])).tolist() == [0, 3e9]
    for wrong in (np.array([True]), 1j):
        with pytest.raises(TypeError, match="logit must hold real numbers"):
            metrics.binary_logits(wrong)


def test_metrics_equal_the_binary_formulas():
    logits = np.asarray(metrics.binary_logits(Z[:, None]))
    probs = special.softmax(logits, -1)
    nll = -np.mean(LABELS * np.log(P) + (1 - LABELS) * np.log(1 - P))
    found = metrics.negative_log_likelihood(logits, LABELS)
    assert found == pytest.approx(nll, rel=1e-5)
    brier = 2 * np.mean((P - LABELS) ** 2)
    assert metrics.brier_score(probs, LABELS) == pytest.approx(brier, rel=1e-5)
    auroc = metrics.auroc(probs[:, 1], LABELS)
    assert auroc == pytest.approx(roc_auc_score(LABELS, P), rel=1e-5)
    confidence, right = np.maximum(P, 1 - P), (P > 0.5) == LABELS
    index = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs((right - confidence)[index == b].sum()) for b in range(15)]
    ece = metrics.expected_calibration_error(probs, LABELS)
    assert ece == pytest.approx(sum(gaps) / 200, rel=1e-4)
    slope = lambda t: np.mean((special.expit(Z / t) - LABELS) * Z)
    temperature = float(metrics.temperature_scaling(logits, LABELS))
    assert temperature == np.inf or abs(slope(temperature)) < 1e-4
    told = (rng.random(200) < special.expit(Z / 2)).astype(int)
    temperature = float(metrics.temperature_scaling(logits, told))
    assert abs(np.mean((special.expit(Z / temperature) - told) * Z)) < 1e-4


def test_acquisition_equals_the_binary_formulas():
    z = Z.reshape(20, 10)
    samples, p = metrics.binary_logits(z[..., None]), special.expit(z)
    total = binary_entropy(p.mean(0))
    mutual = total - binary_entropy(p).mean(0)
    np.testing.assert_allclose(acquisition.max_entropy(samples), total, rtol=1e-5)
    np.testing.assert_allclose(acquisition.bald(samples), mutual, atol=1e-6)
    first = acquisition.batch_bald(None, samples, num_points=1)
    assert first.gains[0] == pytest.approx(mutual.max(), rel=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        metrics.negative_log_likelihood,
        metrics.temperature_scaling,
        metrics.brier_score,
        metrics.brier_decomposition,
        metrics.calibration_bins,
        metrics.adaptive_calibration_error,
        metrics.classwise_calibration_error,
    ],
)
def test_one_class_is_refused_with_the_remedy(function):
    remedy = r"binary_logits|jnp\.(concatenate|stack)\(\[1 - p, p\]"
    for shape in ((200, 1), (200,)):
        with pytest.raises(ValueError, match=remedy):
            function(np.float32(P.reshape(shape)), LABELS)


@pytest.mark.parametrize(
    "function",
    [
        acquisition.bald,
        acquisition.max_entropy,
        acquisition.variation_ratio,
        acquisition.margin,
        lambda x: acquisition.epig(x, x),
        lambda x: acquisition.batch_bald(None, x, num_points=1),
    ],
)
def test_acquisition_refuses_one_logit_with_the_remedy(function):
    for shape in ((20, 10, 1), (20, 10)):
        with pytest.raises(ValueError, match=r"jaxdrop\.metrics\.binary_logits"):
            function(np.float32(Z.reshape(shape)))


def test_logits_in_place_of_probabilities_are_named_or_give_nan():
    logits, labels = np.float32([[3.0, -1.0], [0.2, 0.1]]), np.array([0, 0])
    for metric in (
        metrics.expected_calibration_error,
        metrics.classwise_calibration_error,
        metrics.brier_score,
    ):
        assert np.isnan(metric(jnp.asarray(logits), labels))
        with pytest.raises(ValueError, match=r"from -1 to 3\. If they are logits, use"):
            metric(logits, labels)
        assert metric(logits, labels, weights=np.array([0, 1])) >= 0  # not an example


def test_numpy_keeps_the_most_probable_class():
    probs = np.array([[0.5 - 1e-10, 0.5 + 1e-10], [0.5 + 1e-10, 0.5 - 1e-10]])
    wrong = metrics.expected_calibration_error(probs, np.array([0, 1]))
    right = metrics.expected_calibration_error(probs, np.array([1, 0]))
    np.testing.assert_allclose([wrong, right], 0.5, rtol=1e-6)
    assert metrics.calibration_bins(probs, np.array([1, 0])).correct.sum() == 2


def test_integer_logits_of_a_device_are_floats():
    logits = metrics.binary_logits(jnp.arange(3))
    np.testing.assert_array_equal(logits, [[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
