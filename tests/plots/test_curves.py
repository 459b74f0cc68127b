"""Bands, learning curves and sweeps: means, ranges and errors where they are."""

import numpy as np
import pytest
from plots.cases import RNG, X, texts

from jaxdrop import plots


def test_the_band_is_the_mean_and_so_many_deviations():
    order = RNG.permutation(9)
    std = {"total": 0.2 + X**2, "epistemic": X**2}
    shuffled = {name: s[order] for name, s in std.items()}
    ax = plots.predictive_band(X[order], 2 * X[order], shuffled, width=3).axes[0]
    for band, spread in zip(ax.collections, std.values(), strict=True):
        points = band.get_paths()[0].vertices
        for x, mean, reach in zip(X, 2 * X, 3 * spread, strict=True):
            here = points[np.isclose(points[:, 0], x), 1]
            assert here.min() == pytest.approx(mean - reach)
            assert here.max() == pytest.approx(mean + reach)
    np.testing.assert_allclose(ax.get_lines()[-1].get_data(), (X, 2 * X))
    assert texts(ax) == ["±3 std, total", "±3 std, epistemic", "mean"]


def test_bands_look_the_same_in_the_legend():
    inside, outside = X**2, 0.5 + X**2
    (ax,) = plots.predictive_band(X, X, {"in": inside, "out": outside}).axes
    bands = {band.get_label(): band for band in ax.collections}
    for patch, band in zip(ax.get_legend().get_patches(), ax.collections, strict=True):
        assert patch.get_facecolor() == tuple(band.get_facecolor()[0])
        assert band.get_alpha() is None  # what lies under it does not shine through
    assert bands["±2 std, in"].get_zorder() > bands["±2 std, out"].get_zorder()


def test_runs_are_drawn_as_a_mean_and_their_range():
    runs = RNG.random((4, 6))
    steps = np.arange(0, 60, 10)
    ax = plots.learning_curves({"loss": runs}, steps=steps, log=True).axes[0]
    np.testing.assert_allclose(ax.get_lines()[0].get_data(), (steps, runs.mean(0)))
    assert texts(ax) == ["loss", "band: range of 4 runs"]
    errors = plots.learning_curves({"loss": runs}, band="standard error").axes[0]
    half = np.ptp(errors.collections[0].get_paths()[0].vertices[[1, -2], 1]) / 2
    assert half == pytest.approx(runs[:, 0].std(ddof=1) / 2)
    assert "band: ± standard error of 4 runs" in texts(errors)
    with pytest.raises(ValueError, match=r"band must be one of .* got 'std'"):
        plots.learning_curves({"loss": runs}, band="std")
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == runs.min() and heights.max() == runs.max()
    assert ax.get_yscale() == "log"


def test_repeats_are_drawn_with_their_standard_error():
    repeats = RNG.random((5, 3))
    rates = np.array([0.5, 0.1, 0.3])
    ax = plots.rate_sweep(rates, repeats).axes[0]
    order = np.argsort(rates)
    x, y = ax.get_lines()[0].get_data()
    np.testing.assert_allclose((x, y), (rates[order], repeats.mean(0)[order]))
    segments = ax.containers[0].lines[2][0].get_segments()
    assert texts(ax) == ["bar: ± standard error of 5 repeats"]
    half = [(s[1, 1] - s[0, 1]) / 2 for s in segments]
    error = repeats.std(0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(half, error[order])


def test_columns_of_inputs_and_their_samples_are_drawn_as_rows():
    column = X[::-1, None]
    drawn = plots.predictive_band(
        column, column, X**2, samples=np.stack([column, 2 * column])
    )
    lines = [line.get_data() for line in drawn.axes[0].get_lines()]
    np.testing.assert_allclose(lines, [(X, X), (X, 2 * X), (X, X)])


def test_places_of_a_band_are_known():
    for unknown in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x must be finite"):
            plots.predictive_band(np.append(X[1:], unknown), X, X)
