"""Figures: their width, and what is said where matplotlib is missing."""

import sys

import pytest
from matplotlib.figure import Figure
from plots.cases import DRAWN, X, for_every_plot

from jaxdrop import plots


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "jaxdrop\[plots\]"'):
        plots.rate_sweep(X, X)


def test_figures_are_as_wide_as_columns():
    for columns, width in ((1, 3.4), (2, 7.0)):
        assert plots.new_figure(columns).get_size_inches()[0] == pytest.approx(width)
    with pytest.raises(ValueError, match="columns must be at most 2, got 3"):
        plots.new_figure(3)
    with pytest.raises(ValueError, match=r"height must be positive .*, got 0"):
        plots.new_figure(height=0)


@for_every_plot
def test_axes_of_no_figure_are_refused(name):
    ax = Figure().add_subplot()
    ax.remove()
    with pytest.raises(ValueError, match=f"{name}: ax belongs to no figure"):
        DRAWN[name](ax=ax)
