"""Plots of calibration, uncertainty, training and masks: arrays in, a figure out.

Needs matplotlib: ``pip install "jaxdrop[plots]"``. Every function draws into ``ax`` or
into a new figure, and returns the figure; nothing is shown, and pyplot is not used, so
figures are freed like other objects. Save one with ``figure.savefig("name.png")``.

* :func:`reliability_diagram`: accuracy against confidence.
* :func:`rejection_curve`: accuracy when the least confident are rejected.
* :func:`uncertainty_histogram`: how an uncertainty is distributed in groups.
* :func:`predictive_band`: a predicted curve with its standard deviations.
* :func:`learning_curves`: losses over training.
* :func:`rate_sweep`: a measure against the rate.
* :func:`mask`: the kept entries of a mask.
"""

from jaxdrop.plots._classification import rejection_curve as rejection_curve
from jaxdrop.plots._classification import reliability_diagram as reliability_diagram
from jaxdrop.plots._classification import (
    uncertainty_histogram as uncertainty_histogram,
)
from jaxdrop.plots._curves import learning_curves as learning_curves
from jaxdrop.plots._curves import predictive_band as predictive_band
from jaxdrop.plots._curves import rate_sweep as rate_sweep
from jaxdrop.plots._mask import mask as mask

__all__ = [
    "learning_curves",
    "mask",
    "predictive_band",
    "rate_sweep",
    "rejection_curve",
    "reliability_diagram",
    "uncertainty_histogram",
]


def __dir__() -> list[str]:
    return sorted(__all__)
