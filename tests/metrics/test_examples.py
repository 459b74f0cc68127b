"""Examples, weights and levels: checked, and in one shape."""

from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import metrics
from jaxdrop.metrics._examples import at_label


@pytest.mark.parametrize("unit", [2.0**127, 2.0**60, 1.0, 2.0**-60, 2.0**-120])
def test_the_unit_of_weights_does_not_matter(unit):
    """Likelihood ratios, which are weights of importance, are of any size."""
    share = np.float32([1.0, 0.5, 1.0, 1.0, 0.25])
    labels = jnp.array([0, 1, 0, 1, 0])
    logits = jnp.array([[9.0, 0.0]] * 5)
    probs = jnp.array([[0.6, 0.4]] * 5)
    rows = [
        (metrics.debiased_calibration_error, probs, labels),
        (metrics.temperature_scaling, logits, labels),
        (metrics.negative_log_likelihood, logits, labels),
        (metrics.brier_score, probs, labels),
        (metrics.interval_width, labels, labels + 2),
    ]
    every = jax.jit(
        lambda share: [metric(*data, weights=share) for metric, *data in rows]
    )
    expected = every(share)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(every(share * np.float32(unit)), expected, rtol=1e-6)


def test_levels_may_be_decimals():
    half = Decimal("0.5")
    for level in (half, 0.5):
        score = metrics.winkler_score(0.0, 1.0, jnp.array([0.5, 1.5]), alpha=level)
        assert score == 2


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    lower, y = rng.normal(size=(2, 50))
    return lower, lower + rng.random(50), y


@pytest.mark.whole
@pytest.mark.parametrize("level", [0, 1, -0.1, float("nan"), np.array(7.0)])
def test_levels_lie_inside(level, data):
    lower, upper, y = data
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        metrics.pinball_loss(lower, y, level=level)
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        metrics.winkler_score(lower, upper, y, alpha=level)


@pytest.mark.parametrize("level", [0.0, 1.5, -1.0, np.nan])
def test_levels_of_jax_arrays_outside_give_nan(level, data):
    lower, upper, y = data
    level = jnp.float32(level)
    assert jnp.isnan(metrics.pinball_loss(lower, y, level=level))
    inside = metrics.winkler_score(lower, upper, (lower + upper) / 2, alpha=level)
    assert jnp.isnan(inside)


@pytest.mark.whole
@pytest.mark.parametrize("level", [None, "0.5", True, [0.5], 1j])
def test_levels_are_numbers(level, data):
    lower, upper, y = data
    with pytest.raises(TypeError, match="level must be a number between 0 and 1, got"):
        metrics.pinball_loss(lower, y, level=level)
    with pytest.raises(TypeError, match="alpha must be a number between 0 and 1, got"):
        metrics.winkler_score(lower, upper, y, alpha=level)


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_one_level_is_given_at_a_time(array, data):
    lower, _, y = data
    with pytest.raises(ValueError, match=r"level .* of shape \(2,\).* jax.vmap"):
        metrics.pinball_loss(lower, y, level=array([0.1, 0.5], np.float32))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"shapes must be equal.*mean \(5, 1\)"):
        metrics.crps_gaussian(np.zeros((5, 1)), np.ones(5), np.zeros(5))


def test_a_level_may_be_an_integer_array_and_none_is_tiny():
    curve = metrics.accuracy_rejection(jnp.arange(4.0), jnp.ones(4, bool))
    assert curve.accuracy_at(jnp.int32(0)) == 1
    assert np.isnan(curve.accuracy_at(jnp.int32(1)))
    assert np.isnan(curve._replace(rejected=curve.rejected[:0]).accuracy_at(0.5))
    with pytest.raises(ValueError, match="rejected is too close to 0 for float32"):
        curve.accuracy_at(1e-40)


def test_a_label_that_is_not_a_class_has_no_score():
    table, labels = jnp.arange(6.0).reshape(3, 2), jnp.array([1, 2, -1])
    np.testing.assert_array_equal(at_label(table, labels), [1, np.nan, np.nan])
