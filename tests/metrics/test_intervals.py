"""Intervals and quantiles against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import metrics


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    lower, y = rng.normal(size=(2, 50))
    return lower, lower + rng.random(50), y


def test_equals_numpy(data):
    lower, upper, y = data
    inside = (lower <= y) & (y <= upper)
    assert metrics.interval_coverage(*data) == pytest.approx(inside.mean())
    width = (upper - lower).mean()
    assert metrics.interval_width(lower, upper) == pytest.approx(width, rel=1e-6)
    outside = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    winkler = (upper - lower + 2 / 0.1 * outside).mean()
    assert metrics.winkler_score(*data, alpha=0.1) == pytest.approx(winkler, rel=1e-6)
    pinball = np.where(y > lower, 0.9 * (y - lower), 0.1 * (lower - y)).mean()
    assert metrics.pinball_loss(lower, y, level=0.9) == pytest.approx(pinball, rel=1e-6)


def test_the_ends_belong_to_the_interval():
    assert metrics.interval_coverage(0.0, 1.0, np.array([0.0, 1.0])) == 1


def test_an_end_that_is_nan_is_not_outside():
    assert jnp.isnan(metrics.interval_coverage(0.0, np.nan, np.array([0.0, 1.0])))


def test_the_winkler_score_is_the_pinball_loss_of_both_ends(data):
    lower, upper, y = data
    ends = [
        metrics.pinball_loss(lower, y, level=0.05),
        metrics.pinball_loss(upper, y, level=0.95),
    ]
    winkler = metrics.winkler_score(*data, alpha=0.1)
    assert winkler == pytest.approx(20 * float(sum(ends)), rel=1e-5)


def test_levels_may_be_mapped_over(data):
    lower, _, y = data
    levels = jnp.array([0.1, 0.5])
    losses = jax.vmap(lambda q: metrics.pinball_loss(lower, y, level=q))(levels)
    assert losses[1] == pytest.approx(metrics.pinball_loss(lower, y, level=0.5))


@pytest.mark.parametrize("level", [0, 1, -0.1, float("nan"), np.array(7.0)])
def test_levels_lie_inside(level, data):
    lower, upper, y = data
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        metrics.pinball_loss(lower, y, level=level)
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        metrics.winkler_score(lower, upper, y, alpha=level)


def test_the_whole_line_covers_everything():
    lower, upper = np.float32([-np.inf, -np.inf]), np.float32([np.inf, 0])
    assert metrics.interval_coverage(lower, upper, np.float32([0.5, 0.5])) == 0.5
    unknown = np.float32([np.nan, 0.5])
    assert np.isnan(metrics.interval_coverage(lower, upper, unknown))


@pytest.mark.parametrize("level", [0.0, 1.5, -1.0, np.nan])
def test_levels_of_jax_arrays_outside_give_nan(level, data):
    lower, upper, y = data
    level = jnp.float32(level)
    assert jnp.isnan(metrics.pinball_loss(lower, y, level=level))
    inside = metrics.winkler_score(lower, upper, (lower + upper) / 2, alpha=level)
    assert jnp.isnan(inside)


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
