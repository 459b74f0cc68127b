"""A forest plot shows every estimate and interval, and can be read without colour."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxdrop import plots

NAMES = ["none", "dropout", "L2"]
ESTIMATES = np.array([np.nan, -0.5, 0.2])
LOW, HIGH = ESTIMATES - [0, 0.3, np.nan], ESTIMATES + 0.4
SERIES = {"weight scaling": (ESTIMATES, LOW, HIGH), "MC dropout": (LOW, LOW, HIGH)}


def bars(ax):
    return [segment for c in ax.collections for segment in c.get_segments()]


def marks(ax):
    return [line for line in ax.get_lines() if line.get_linestyle() == "None"]


def test_estimates_and_intervals_are_drawn_where_they_are():
    (ax,) = plots.forest(NAMES, {"one": SERIES["weight scaling"]}).axes
    (line,) = marks(ax)
    np.testing.assert_allclose(line.get_data(), [[-0.5, 0.2], [1, 2]])
    np.testing.assert_allclose(bars(ax), [[[LOW[1], 1], [HIGH[1], 1]]])  # no other end
    assert ax.get_ylim() == (2.5, -0.5)  # the first name at the top


def test_series_of_a_row_do_not_cover_each_other():
    (ax,) = plots.forest(NAMES, SERIES).axes
    first, second = marks(ax)
    assert first.get_marker() != second.get_marker()
    assert first.get_color() != second.get_color()
    rows = [line.get_ydata() for line in (first, second)]
    assert rows[0][0] < 1 < rows[1][0] < 1.5
    styles = [str(c.get_linestyles()) for c in ax.collections if len(c.get_segments())]
    assert len(set(styles)) == len(styles)


def test_the_legend_says_the_meaning_of_bars_if_there_are_any():
    (ax,) = plots.forest(NAMES, SERIES, interval="90 % of seeds").axes
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [*SERIES, "bar: 90 % of seeds"]
    points = {"seconds": (np.ones(3), *np.full((2, 3), np.nan))}
    (ax,) = plots.forest(NAMES, points, zero=None).axes
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["seconds"] and not bars(ax)


def test_zero_is_a_line_that_can_be_moved_and_left_out():
    for zero, number in ((1.0, 1), (None, 0)):
        (ax,) = plots.forest(NAMES, SERIES, zero=zero).axes
        vertical = [x for x in ax.get_lines() if list(x.get_ydata()) == [0, 1]]
        assert len(vertical) == number
        assert all(list(line.get_xdata()) == [zero, zero] for line in vertical)


def test_panels_share_the_names():
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for ax in (left, right):
        assert plots.forest(NAMES, SERIES, ax=ax) is figure
    figure.draw_without_rendering()
    none = left.get_yticklabels()[0]
    assert none.get_text() == "none" and none.get_color() != "black"
    assert left.get_yticklabels()[1].get_color() == "black"


def test_axes_of_the_caller_may_be_logarithmic():
    for draw in (
        lambda ax: plots.forest(["a"], {"ratio": ([2.0], [1.0], [4.0])}, zero=1, ax=ax),
        lambda ax: plots.learning_curves({"loss": [2.0, 1.0]}, ax=ax),
        lambda ax: plots.rate_sweep([0.1, 1.0], [2.0, 1.0], ax=ax),
    ):
        ax = Figure().subplots()
        ax.set_xscale("log")
        draw(ax)
        assert ax.get_xscale() == "log"


@pytest.mark.parametrize("number", [1, 12, 40])
def test_rows_keep_their_height(number):
    names = [f"method {i}" for i in range(number)]
    figure = plots.forest(names, {"one": (np.zeros(number),) * 3})
    figure.draw_without_rendering()
    (ax,) = figure.axes
    inches = ax.get_window_extent().height / figure.dpi
    assert inches / number > 0.15


def test_shapes_and_ends_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"low of series 'a' must .* 3 names, got \(2"):
        plots.forest(NAMES, {"a": (ESTIMATES, LOW[:2], HIGH)})
    with pytest.raises(ValueError, match=r"series 'a' must be \(estimate, low, high\)"):
        plots.forest(NAMES, {"a": (ESTIMATES, HIGH)})
    with pytest.raises(ValueError, match=r"low of series 'a' .* 0\.9\S* > .* in row 1"):
        plots.forest(NAMES, {"a": (ESTIMATES, HIGH + 1, HIGH)})
    for names in ("dropout", []):
        with pytest.raises(ValueError, match="names must hold the name of each row"):
            plots.forest(names, SERIES)
    with pytest.raises(ValueError, match="series must hold at least one series"):
        plots.forest(NAMES, {})
