"""Plots of calibration, uncertainty, training and masks: arrays in, a figure out.

Needs matplotlib: ``pip install "jaxdrop[plots]"``. Every function draws into ``ax`` or
into a new figure, and returns the figure; nothing is shown, and pyplot is not used, so
figures are freed like other objects. Save one with ``figure.savefig("name.png")``.
Named series differ in colour, line style and marker; legends stand outside the data.

* :func:`reliability_diagram`: accuracy against confidence.
* :func:`rejection_curve`: accuracy when the least confident are rejected.
* :func:`uncertainty_histogram`: how an uncertainty is distributed in groups.
* :func:`predictive_band`: a predicted curve with its standard deviations.
* :func:`learning_curves`: losses over training.
* :func:`rate_sweep`: a measure against the rate.
* :func:`forest`: estimates with their intervals, a row for each name.
* :func:`mask`: the kept entries of a mask.
* :func:`add_legend`: a legend that stands outside the data.
* :func:`new_figure`: an empty figure for one or two printed columns.
* :func:`styles`: colour, line style and marker of each of several names.
"""

from jaxdrop.plots._canvas import add_legend as add_legend
from jaxdrop.plots._canvas import new_figure as new_figure
from jaxdrop.plots._classification import rejection_curve as rejection_curve
from jaxdrop.plots._classification import reliability_diagram as reliability_diagram
from jaxdrop.plots._classification import (
    uncertainty_histogram as uncertainty_histogram,
)
from jaxdrop.plots._curves import learning_curves as learning_curves
from jaxdrop.plots._curves import predictive_band as predictive_band
from jaxdrop.plots._curves import rate_sweep as rate_sweep
from jaxdrop.plots._forest import forest as forest
from jaxdrop.plots._mask import mask as mask
from jaxdrop.plots._styles import styles as styles

__all__ = [
    "add_legend",
    "forest",
    "learning_curves",
    "mask",
    "new_figure",
    "predictive_band",
    "rate_sweep",
    "rejection_curve",
    "reliability_diagram",
    "styles",
    "uncertainty_histogram",
]


def __dir__() -> list[str]:
    return sorted(__all__)
