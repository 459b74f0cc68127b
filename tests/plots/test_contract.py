"""Plots show the numbers they are given, and leave nothing behind."""

import io

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.cases import (
    CONFIDENCE,
    CORRECT,
    DRAWN,
    LABELS,
    PROBS,
    X,
    for_every_plot,
    texts,
)

from jaxdrop import plots


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


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("correct", lambda: plots.rejection_curve(CONFIDENCE[:0], CORRECT[:0])),
        ("x", lambda: plots.predictive_band(X[:0], X[:0], X[:0])),
        ("kept", lambda: plots.mask(np.ones((0, 4), bool))),
        ("kept", lambda: plots.mask(np.ones((0, 3, 3), bool))),
        ("groups", lambda: plots.uncertainty_histogram({})),
        ("history", lambda: plots.learning_curves({})),
        ("history 'a'", lambda: plots.learning_curves({"a": np.ones((0, 3))})),
        ("values", lambda: plots.rate_sweep(X, {})),
        ("values", lambda: plots.rate_sweep(X, np.ones((0, 9)))),
        ("confidence", lambda: plots.rejection_curve({}, CORRECT)),
    ],
)
def test_what_there_is_nothing_of_is_named(name, draw):
    with pytest.raises(ValueError, match=f"{name} must hold at least one"):
        draw()


def test_names_and_groups_of_arrays_may_be_any_iterable():
    rows, gains = {"x": 1, "y": 2}, np.array([[1.0, 2], [0, 1], [2, 3]])
    for names in (rows.keys(), iter(rows), np.array([*rows])):
        for parts in (jnp.asarray(gains), gains, map(list, gains)):
            (ax,) = plots.forest(names, {"a": parts}).axes
            assert [text.get_text() for text in ax.get_yticklabels()] == [*rows]
            names = list(rows)
    assert list(plots.styles(rows.keys())) == [*rows]
    for observed in (jnp.stack([X, X**2]), iter((X, X**2))):
        (ax,) = plots.predictive_band(X, X, X, observed=observed).axes
        np.testing.assert_allclose(ax.collections[-1].get_offsets()[:, 1], X**2)


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


SERIES = {
    "reliability_diagram": ("probs", lambda v: plots.reliability_diagram(v, LABELS)),
    "rejection_curve": ("confidence", lambda v: plots.rejection_curve(v, CORRECT)),
    "uncertainty_histogram": ("groups", plots.uncertainty_histogram),
    "predictive_band": ("mean", lambda v: plots.predictive_band(X, v, X)),
    "learning_curves": ("history 'a'", lambda v: plots.learning_curves({"a": v})),
    "rate_sweep": ("values 'a'", lambda v: plots.rate_sweep(X, {"a": v})),
    "mask": ("kept", plots.mask),
    "forest": (
        "low of series 'a'",
        lambda v: plots.forest(["x", "y"], {"a": ([1, 2], v, [3, 4])}),
    ),
}


@pytest.mark.parametrize(
    "value",
    ["text", None, [[0.5], [1, 2]], [1j, 2], jax.random.key(0), [10**400] * 2],
    ids=["text", "None", "ragged", "complex", "key", "huge"],
)
@pytest.mark.parametrize("name", SERIES)
def test_what_is_not_a_real_number_is_refused_by_name(name, value):
    argument, draw = SERIES[name]
    with pytest.raises((TypeError, ValueError), match=f"{argument} (must|holds)"):
        draw(value)


NUMBERS = {
    "width": lambda v: plots.predictive_band(X, X, X, width=v),
    "zero": lambda v: plots.forest(["x"], {"a": ([1], [0], [2])}, zero=v),
    "height": lambda v: plots.new_figure(height=v),
    "xlim": lambda v: plots.uncertainty_histogram(X, xlim=(0, v)),
    "key": lambda v: plots.mask(CORRECT, key=v),
    "log": lambda v: plots.learning_curves({"a": X}, log=v),
    "observed": lambda v: plots.predictive_band(X, X, X, observed=v),
    "series": lambda v: plots.forest(["x"], v),
}


@pytest.mark.parametrize("value", [1j, "text", (1, 2, 3), np.inf], ids=repr)
@pytest.mark.parametrize("name", NUMBERS)
def test_other_arguments_are_refused_by_name(name, value):
    with pytest.raises((TypeError, ValueError), match=f": {name} must"):
        NUMBERS[name](value)


def test_numbers_too_large_to_draw_leave_gaps():
    """Matplotlib itself would raise, or warn of an overflow."""
    plots.learning_curves({"loss": [1, 1e308, 2]}).savefig(io.BytesIO())
    plots.rate_sweep(X, X * 1e305).savefig(io.BytesIO())
    plots.uncertainty_histogram([1e308, -1e308, 0]).savefig(io.BytesIO())
    plots.predictive_band([3.0], [1e308], [1.0]).savefig(io.BytesIO())
    opposite = np.array([[1e300, 1, np.inf], [-1e300, 2, -np.inf]])
    for band in ("range", "standard error"):
        plots.learning_curves({"a": opposite}, band=band).savefig(io.BytesIO())
    plots.rate_sweep(X[:3], opposite).savefig(io.BytesIO())
    plots.predictive_band(X, 1e300 * X, X + 1e300, width=1e300).savefig(io.BytesIO())


NAMED = {
    "reliability_diagram": lambda n: plots.reliability_diagram({n: PROBS}, LABELS),
    "rejection_curve": lambda n: plots.rejection_curve({n: CONFIDENCE}, {n: CORRECT}),
    "uncertainty_histogram": lambda n: plots.uncertainty_histogram({n: CONFIDENCE}),
    "predictive_band": lambda n: plots.predictive_band(X, X, {n: X**2}),
    "learning_curves": lambda n: plots.learning_curves({n: X}),
    "rate_sweep": lambda n: plots.rate_sweep(X, {n: X}),
    "forest": lambda n: plots.forest(["x"], {n: ([1], [0], [2])}),
}


@pytest.mark.parametrize("name", ["_x", "__init__", 3, 0.5, ("a", 1), b"x"], ids=repr)
@pytest.mark.parametrize("plot", NAMED)
def test_a_series_of_any_name_is_in_the_legend(plot, name):
    """Matplotlib hides names with an underscore in front, and unpacks tuples."""
    labels = texts(NAMED[plot](name).axes[0])
    assert any(str(name) in label for label in labels), labels


@pytest.mark.parametrize(
    "ax", ["a", 3, plots.new_figure()], ids=["text", "3", "figure"]
)
@pytest.mark.parametrize("name", [*DRAWN, "add_legend"])
def test_what_is_drawn_into_is_axes(name, ax):
    draw = DRAWN.get(name, lambda ax: plots.add_legend(ax))
    with pytest.raises(TypeError, match=f"{name}: ax must be Axes of matplotlib"):
        draw(ax=ax)
