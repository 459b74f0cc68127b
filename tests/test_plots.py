"""Plots show the numbers they are given, and leave nothing behind."""

import io
import subprocess
import sys

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxdrop import metrics, plots

RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(4), 60).astype(np.float32)
LABELS = RNG.integers(0, 4, 60)
CONFIDENCE, CORRECT = PROBS.max(-1), PROBS.argmax(-1) == LABELS
X = np.linspace(-1, 1, 9)

DRAWN = {
    "reliability_diagram": lambda **kw: plots.reliability_diagram(PROBS, LABELS, **kw),
    "rejection_curve": lambda **kw: plots.rejection_curve(CONFIDENCE, CORRECT, **kw),
    "uncertainty_histogram": lambda **kw: plots.uncertainty_histogram(
        {"all": CONFIDENCE}, **kw
    ),
    "predictive_band": lambda **kw: plots.predictive_band(
        X, X, X**2, samples=np.ones((2, 9)), observed=(X, X), **kw
    ),
    "learning_curves": lambda **kw: plots.learning_curves(
        {"a": X + 2, "b": np.ones((3, 9))}, **kw
    ),
    "rate_sweep": lambda **kw: plots.rate_sweep(X, {"a": X, "b": np.eye(9)}, **kw),
    "mask": lambda **kw: plots.mask(np.eye(5, dtype=bool), **kw),
}
for_every_plot = pytest.mark.parametrize("name", DRAWN)


@for_every_plot
def test_a_figure_is_returned_and_not_shown(name, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shown"))
    figure = DRAWN[name]()
    assert isinstance(figure, Figure)
    assert not plt.get_fignums()  # pyplot would keep it alive
    figure.savefig(io.BytesIO(), format="png")


@for_every_plot
def test_an_ax_of_the_caller_is_drawn_into(name):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert DRAWN[name](ax=left) is figure
    assert left.has_data() and not right.has_data()
    figure.savefig(io.BytesIO(), format="png")


def test_every_plot_is_tested():
    public = {n for n, f in vars(plots).items() if callable(f) and n[0] != "_"}
    assert public == {*DRAWN, "add_legend", "forest", "new_figure", "styles"}


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def points(container):
    """Places of an errorbar, and the ends of its bars."""
    line, _, (segments,) = container.lines
    return line.get_data(), np.array(segments.get_segments())[:, :, 1].T


def test_the_reliability_diagram_shows_the_bins_of_the_metric():
    models = {"one": PROBS, "sharp": PROBS**3 / (PROBS**3).sum(-1, keepdims=True)}
    figure = plots.reliability_diagram(models, LABELS, num_bins=7)
    upper, lower = figure.axes
    for number, (name, probs) in enumerate(models.items()):
        bins = metrics.calibration_bins(probs, LABELS, num_bins=7)
        filled = np.asarray(bins.weight) > 0
        drawn, (low, high) = points(upper.containers[number])
        expected = np.stack([bins.mean_confidence, bins.accuracy])[:, filled]
        np.testing.assert_allclose(drawn, expected, atol=1e-6)
        assert (low <= drawn[1]).all() and (drawn[1] <= high).all()
        share = lower.patches[number].get_data()
        np.testing.assert_allclose(share.values, bins.weight / 60, rtol=1e-6)
        np.testing.assert_allclose(share.edges, np.arange(8) / 7)
        error = metrics.expected_calibration_error(probs, LABELS, num_bins=7)
        assert f"{name}, ECE {error:.3f}" in texts(upper)
    assert texts(upper)[-1] == "bar: 95 % interval (Wilson)"
    assert lower.get_xlabel() == "confidence (7 bins)"


def test_intervals_of_accuracies_are_those_of_wilson():
    """16 of 20: 0.584 to 0.919; none of 20: 0 to 0.161 (Newcombe, 1998)."""
    probs = np.tile([0.75, 0.25], (20, 1))
    for right, expected in ((16, (0.584, 0.919)), (0, (0, 0.161))):
        labels = (np.arange(20) >= right).astype(int)
        for weights in (None, np.full(20, 3.0)):  # a common factor changes nothing
            figure = plots.reliability_diagram(
                probs, labels, num_bins=10, weights=weights
            )
            _, ends = points(figure.axes[0].containers[0])
            np.testing.assert_allclose(ends.ravel(), expected, atol=1e-3)
    uneven = np.where(np.arange(20) < 10, 1.0, 1e-6)  # as good as 10 examples
    few = plots.reliability_diagram(probs, labels, num_bins=10, weights=uneven)
    _, ends = points(few.axes[0].containers[0])
    np.testing.assert_allclose(ends.ravel(), (0, 0.278), atol=1e-3)


def test_the_rejection_curve_is_that_of_the_metric():
    scores = {"max probability": CONFIDENCE, "noise": RNG.random(60)}
    ax = plots.rejection_curve(scores, CORRECT, fewest=1).axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    ideal, random = ax.get_lines()[:2]
    for line, confidence in (
        *((lines[name], score) for name, score in scores.items()),
        (ideal, CORRECT),
    ):
        curve = metrics.accuracy_rejection(confidence, CORRECT)
        np.testing.assert_array_equal(line.get_data(), curve)
    assert random.get_ydata()[0] == pytest.approx(CORRECT.mean())
    assert texts(ax) == ["ideal", "random", *scores]


def test_models_have_ideal_orders_of_their_own():
    right = {"a": CORRECT, "b": ~CORRECT}
    scores = dict.fromkeys(right, CONFIDENCE)
    ax = plots.rejection_curve(scores, right).axes[0]
    levels = [ax.get_lines()[number].get_ydata()[0] for number in (1, 3)]
    np.testing.assert_allclose(levels, [CORRECT.mean(), 1 - CORRECT.mean()], atol=1e-6)
    assert texts(ax) == ["ideal", "random", "a", "b"]
    with pytest.raises(ValueError, match=r"correct must hold .* \['a'\] without 'b'"):
        plots.rejection_curve(scores, {"a": CORRECT})


@pytest.mark.parametrize(
    ("size", "fewest", "last"),
    [(60, None, 15), (600, None, 30), (60, 7, 7)],
)
def test_a_rejection_curve_ends_before_it_is_noise(size, fewest, last):
    score, right = RNG.random(size), RNG.random(size) < 0.8
    (ax,) = plots.rejection_curve({"s": score}, right, fewest=fewest).axes
    (line,) = (line for line in ax.get_lines() if line.get_label() == "s")
    remaining = size * (1 - line.get_xdata()[-1])
    assert remaining == pytest.approx(last, abs=0.01)


def test_groups_of_all_sizes_are_compared_by_their_shares():
    groups = {"few": RNG.normal(size=7), "many": RNG.normal(3, 1, 5000), "none": []}
    ax = plots.uncertainty_histogram(groups, num_bins=30, xlabel="nats").axes[0]
    shares = [patch.get_data().values.sum() for patch in ax.patches]
    np.testing.assert_allclose(shares, [1, 1, 1, 1, 0, 0])
    assert texts(ax) == ["few (7)", "many (5,000)", "none (0)"]
    assert ax.get_xlabel() == "nats"


def test_outliers_are_counted_and_do_not_set_the_axis():
    bulk = RNG.normal(size=200)
    groups = {"with": np.append(bulk, [1e6, -1e9, np.inf]), "small": [0.1, 0.2, 50]}
    (ax,) = plots.uncertainty_histogram(groups).axes
    low, high = ax.get_xlim()
    assert -8 < low <= bulk.min() and bulk.max() <= high < 8
    assert texts(ax) == ["with (203, 3 outside)", "small (3, 1 outside)"]
    (ax,) = plots.uncertainty_histogram(groups, xlim=(0.0, 60.0)).axes
    assert ax.get_xlim() == (0, 60) and "small (3)" in texts(ax)
    (ax,) = plots.uncertainty_histogram({"tail": RNG.exponential(size=500)}).axes
    assert ax.patches[0].get_data().values.sum() > 0.99
    with pytest.raises(ValueError, match=r"xlim must be \(low, high\) .* got \(1, 0\)"):
        plots.uncertainty_histogram(groups, xlim=(1, 0))


def test_infinite_and_equal_uncertainties_can_be_drawn():
    for values in (np.array([1.0, np.inf, np.nan]), np.zeros(4), np.array([])):
        figure = plots.uncertainty_histogram(values)
        figure.savefig(io.BytesIO(), format="png")


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
    with pytest.raises(ValueError, match=r"band must be 'range' or .* got 'std'"):
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


def test_masks_are_shown_as_they_are():
    kept = RNG.random((5, 4, 6)) < 0.7
    figure = plots.mask(kept)
    assert len(figure.axes) == 5
    for ax, panel in zip(figure.axes, kept, strict=True):
        np.testing.assert_array_equal(ax.get_images()[0].get_array(), panel)
        assert ax.get_title() == f"{100 * (1 - panel.mean()):.3g} % dropped"
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["kept", "dropped"]
    assert not plots.mask(kept, key=False).legends
    with pytest.raises(ValueError, match="1, 2 or 3 axes"):
        plots.mask(kept[None])
    with pytest.raises(ValueError, match="5 panels do not fit one ax"):
        plots.mask(kept, ax=Figure().subplots())


@pytest.mark.parametrize(("size", "shape"), [(6, (1, 6)), (48, (1, 48)), (49, (2, 32))])
def test_a_mask_of_one_axis_is_wrapped_into_rows(size, shape):
    kept = RNG.random(size) < 0.7
    (ax,) = plots.mask(kept).axes
    shown = ax.get_images()[0].get_array()
    assert shown.shape == shape
    np.testing.assert_array_equal(shown.ravel()[:size], kept)
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown)).sum() == shown.size - size
    assert ax.get_title() == f"{100 * (1 - kept.mean()):.3g} % dropped"
    if shape[0] > 1:
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert labels == ["0", "32"]


def test_matplotlib_is_imported_when_it_is_used():
    program = "import sys, jaxdrop.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "jaxdrop\[plots\]"'):
        plots.rate_sweep(X, X)


def test_shapes_that_do_not_belong_together_are_refused():
    seven = np.ones(7)
    with pytest.raises(ValueError, match=r"mean must hold one number .* 9, got \(7,\)"):
        plots.predictive_band(X, seven, X)
    with pytest.raises(ValueError, match=r"std 'total' must hold .* 9, got \(7,\)"):
        plots.predictive_band(X, X, {"total": seven})
    for samples in (np.ones((9, 2)), np.ones(18), X):
        with pytest.raises(ValueError, match=r"samples must have .* \(S, 9\), got"):
            plots.predictive_band(X, X, X, samples=samples)
    with pytest.raises(ValueError, match=r"targets observed must .* 9, got \(7,\)"):
        plots.predictive_band(X, X, X, observed=(X, seven))
    with pytest.raises(
        ValueError, match=r"values must .* \(9,\) or \(repeats, 9\), got"
    ):
        plots.rate_sweep(X, np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"values 'b' must have .* got \(9, 2\)"):
        plots.rate_sweep(X, {"a": X, "b": np.ones((9, 2))})
    with pytest.raises(ValueError, match=r"rates must have one axis, got \(1, 9\)"):
        plots.rate_sweep(X[None], X)
    with pytest.raises(ValueError, match=r"history 'loss' must .* 9\), got \(2, 4\)"):
        plots.learning_curves({"loss": np.ones((2, 4))}, steps=X)
    with pytest.raises(ValueError, match=r"history 'loss' must have .* \(2, 3, 4\)"):
        plots.learning_curves({"loss": np.ones((2, 3, 4))})
    with pytest.raises(
        ValueError, match=r"shapes must be equal, got confidence \(7,\)"
    ):
        plots.rejection_curve({"a": CONFIDENCE[:7]}, CORRECT)


def test_columns_of_inputs_and_their_samples_are_drawn_as_rows():
    column = X[::-1, None]
    drawn = plots.predictive_band(
        column, column, X**2, samples=np.stack([column, 2 * column])
    )
    lines = [line.get_data() for line in drawn.axes[0].get_lines()]
    np.testing.assert_allclose(lines, [(X, X), (X, 2 * X), (X, X)])


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("correct", lambda: plots.rejection_curve(CONFIDENCE[:0], CORRECT[:0])),
        ("x", lambda: plots.predictive_band(X[:0], X[:0], X[:0])),
        ("kept", lambda: plots.mask(np.ones((0, 4), bool))),
        ("kept", lambda: plots.mask(np.ones((0, 3, 3), bool))),
        ("groups", lambda: plots.uncertainty_histogram({})),
    ],
)
def test_what_there_is_nothing_of_is_named(name, draw):
    with pytest.raises(ValueError, match=f"{name} must hold at least one"):
        draw()


UNKNOWN = {
    "reliability_diagram": lambda: plots.reliability_diagram(PROBS * np.nan, LABELS),
    "confidence": lambda: plots.rejection_curve(CONFIDENCE * np.nan, CORRECT),
    "correct": lambda: plots.rejection_curve(CONFIDENCE, CORRECT * np.nan),
    "predictive_band": lambda: plots.predictive_band(X, X * np.nan, X),
    "learning_curves": lambda: plots.learning_curves({"loss": [1, np.nan]}),
    "rate_sweep": lambda: plots.rate_sweep(X, X * np.nan),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_values_that_are_not_known_leave_gaps(name):
    UNKNOWN[name]().savefig(io.BytesIO(), format="png")


def test_places_of_a_band_are_known():
    for unknown in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x must be finite"):
            plots.predictive_band(np.append(X[1:], unknown), X, X)


def test_bins_of_a_histogram_are_counted():
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        plots.uncertainty_histogram(X, num_bins=0)
    with pytest.raises(TypeError, match=r"num_bins must be an integer, got 2\.5"):
        plots.uncertainty_histogram(X, num_bins=2.5)


def test_figures_are_as_wide_as_columns():
    for columns, width in ((1, 3.4), (2, 7.0)):
        assert plots.new_figure(columns).get_size_inches()[0] == pytest.approx(width)
    with pytest.raises(ValueError, match="columns must be 1 or 2, got 3"):
        plots.new_figure(3)
    with pytest.raises(ValueError, match="height must be positive, got 0"):
        plots.new_figure(height=0)
