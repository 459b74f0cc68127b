"""Temperature scaling finds the optimum, and nothing but the temperature."""

import numpy as np
import pytest
from scipy import optimize, special

from jaxdrop import metrics


def test_recovers_the_temperature_of_synthetic_logits():
    rng = np.random.default_rng(0)
    true = 2 * rng.normal(size=(100_000, 5)).astype(np.float32)
    labels = (true + rng.gumbel(size=true.shape)).argmax(-1)
    temperature = float(metrics.temperature_scaling(2 * true, labels))
    assert abs(temperature - 2) < 0.02
    scaled = 2 * true / np.float32(temperature)
    assert (scaled.argmax(-1) == true.argmax(-1)).all()
    assert metrics.negative_log_likelihood(
        scaled, labels
    ) < metrics.negative_log_likelihood(2 * true, labels)


def test_is_the_optimum_of_the_likelihood():
    rng = np.random.default_rng(0)
    logits, labels = 4 * rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    weights = rng.random(60)

    def loss(log_temperature):
        scaled = special.log_softmax(logits / np.exp(log_temperature), -1)
        return -(weights * scaled[range(60), labels]).sum()

    expected = np.exp(optimize.minimize_scalar(loss, bounds=(-5, 6)).x)
    found = metrics.temperature_scaling(logits, labels, weights=weights)
    assert found == pytest.approx(expected, rel=1e-3)


def test_ends_where_there_is_no_optimum():
    logits = np.float32([[3.0, 0.0], [0.0, 2.0]])
    right = metrics.temperature_scaling(logits, np.array([0, 1]))
    wrong = metrics.temperature_scaling(logits, np.array([1, 0]))
    assert right == 0 and wrong == np.inf


@pytest.mark.parametrize("scale", [1e-20, 1e-5, 1.0, 1e4, 1e20])
def test_is_on_the_scale_of_the_logits(scale):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    labels = np.where(rng.random(200) < 0.5, logits.argmax(-1), labels)

    def loss(log_temperature):
        scaled = special.log_softmax(logits / np.exp(log_temperature), -1)
        return -scaled[range(200), labels].sum()

    expected = scale * np.exp(optimize.minimize_scalar(loss, bounds=(-5, 6)).x)
    found = metrics.temperature_scaling(scale * logits, labels)
    assert found == pytest.approx(expected, rel=1e-4)


def test_one_masked_logit_is_not_the_scale():
    logits = np.float32([[9.0, 0.0, -1e9]] * 4)
    found = metrics.temperature_scaling(logits, np.array([0, 0, 0, 1]))
    assert found == pytest.approx(9 / np.log(3), rel=1e-4)


def test_impossible_classes_do_not_disturb():
    logits = np.float32([[9.0, 0.0, -np.inf]] * 4)
    found = metrics.temperature_scaling(logits, np.array([0, 0, 0, 1]))
    assert found == pytest.approx(9 / np.log(3), rel=1e-4)
    assert np.isnan(metrics.temperature_scaling(logits, np.array([0, 0, 0, 3])))


def test_where_every_temperature_fits_it_is_one():
    labels = np.array([0, 1, 0])
    flat = np.zeros((3, 2), np.float32)
    assert metrics.temperature_scaling(flat, labels) == 1
    certain = np.float32([[5, -np.inf], [-np.inf, 5], [1, 1]])
    assert metrics.temperature_scaling(certain, labels) == 1
    telling = np.concatenate([flat, np.float32([[200, 0]])])
    labels = np.append(labels, 0)
    assert metrics.temperature_scaling(telling, labels) == 0
    weights = np.float32([1, 1, 1, 0])
    assert metrics.temperature_scaling(telling, labels, weights=weights) == 1
    assert np.isnan(metrics.temperature_scaling(flat, np.array([0, 1, 2])))
