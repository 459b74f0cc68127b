"""Legends cover no data, no labels and no titles, and are not cut off."""

import io
import pickle

import legible
import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.cases import DRAWN, LABELS, PROBS, for_every_plot

from jaxdrop import plots


@pytest.mark.parametrize("number", [12, 13, 30])
def test_many_names_stand_beside_the_curves(number):
    history = {f"run {i}": np.arange(3.0) + i for i in range(number)}
    figure = plots.learning_curves(history)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    legend = ax.get_legend()
    assert len(legend.get_texts()) == number
    beside = legend.get_window_extent().x0 >= ax.get_window_extent().x1 - 1
    assert beside == (number > 12)
    styles = {
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in ax.get_lines()
    }
    assert len(styles) == number


def overlapping(figure):
    """Pairs of legends, labels and titles of a figure that cover each other."""
    boxes = [
        (str(artist), artist.get_window_extent())
        for ax in figure.axes
        for artist in (ax.get_legend(), ax.xaxis.label, ax.yaxis.label, ax.title)
        if artist is not None
    ]
    boxes = [(name, box) for name, box in boxes if box.width > 1 and box.height > 1]
    boxes += [("data", ax.get_window_extent()) for ax in figure.axes]
    return [
        (one[0], other[0])
        for number, one in enumerate(boxes)
        for other in boxes[:number]
        if one[1].padded(-2).overlaps(other[1])
    ]


@for_every_plot
def test_legends_cover_nothing_at_the_printed_size(name):
    figure = plots.new_figure(2, height=3.2)
    axes = figure.subplots(1, 2)
    for ax in axes:
        DRAWN[name](ax=ax)
        ax.set_title("a title")
    axes[-1].tick_params(axis="x", labelrotation=45)  # later changes move the legend
    figure.savefig(io.BytesIO(), format="png")
    assert overlapping(figure) == []


@for_every_plot
def test_plots_are_legible_in_one_printed_column(name):
    figure = plots.new_figure()
    DRAWN[name](ax=figure.subplots())
    assert legible.faults(figure) == []


@pytest.mark.parametrize(
    "number", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (8, 11))]
)
def test_many_names_leave_room_for_curves_in_one_printed_column(number):
    names = ["none", *(f"method {i}" for i in range(1, number))]
    values = np.arange(6.0) + np.arange(3.0)[:, None]
    for draw in (
        lambda ax: plots.learning_curves(dict.fromkeys(names, values), ax=ax),
        lambda ax: plots.rate_sweep(
            np.arange(6) / 6, dict.fromkeys(names, values), ax=ax
        ),
        lambda ax: plots.reliability_diagram(
            dict.fromkeys(names[:5], PROBS), LABELS, ax=ax
        ),
    ):
        figure = plots.new_figure()
        draw(figure.subplots())
        assert legible.faults(figure) == []


@pytest.mark.parametrize("large", [0, 1])
def test_letters_are_as_large_as_the_row_of_the_axes_allows(large):
    """A legend that is high for a third of the figure is not for the rest of it."""
    names = [f"method {i}" for i in range(4)]
    series = dict.fromkeys(names, np.arange(6.0) + np.arange(3.0)[:, None])
    figure = plots.new_figure(height=5.0)
    axes = figure.subplots(2, 1, height_ratios=[4, 1])
    plots.learning_curves(series, ax=axes[1 - large])
    sizes = {t.get_fontsize() for t in axes[1 - large].get_legend().get_texts()}
    assert len(sizes) == 1 and (sizes.pop() > 7) == bool(large)


def test_the_meaning_of_bars_stands_behind_the_names():
    runs = np.arange(12.0).reshape(3, 4)
    series = {"none": runs, "dropout": runs + 1}
    for figure in (
        plots.rate_sweep(np.arange(4) / 4, series),
        plots.learning_curves(series),
    ):
        *shown, note = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
        assert shown == ["none", "dropout"] and note.startswith("ba")


@for_every_plot
def test_legends_are_inside_figures_that_make_no_room(name):
    figure = Figure()
    ax = figure.subplots()
    DRAWN[name](ax=ax)
    box = ax.get_legend().get_window_extent()
    assert box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures_can_be_copied_and_saved_in_every_format(kind):
    figure = pickle.loads(pickle.dumps(DRAWN["learning_curves"]()))
    figure.savefig(io.BytesIO(), format=kind, dpi=300, bbox_inches="tight")
    assert overlapping(figure) == []


def test_axes_that_were_placed_by_hand_have_their_own_width():
    ax = Figure(layout="constrained").add_axes((0.2, 0.2, 0.5, 0.5))
    plots.reliability_diagram({"a": PROBS, "b": PROBS}, LABELS, ax=ax)
    assert ax.get_legend() is not None
