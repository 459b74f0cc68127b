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


def test_the_whole_line_covers_everything():
    lower, upper = np.float32([-np.inf, -np.inf]), np.float32([np.inf, 0])
    assert metrics.interval_coverage(lower, upper, np.float32([0.5, 0.5])) == 0.5
    unknown = np.float32([np.nan, 0.5])
    assert np.isnan(metrics.interval_coverage(lower, upper, unknown))
