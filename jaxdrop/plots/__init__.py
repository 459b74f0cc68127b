"""Plots of calibration, uncertainty, training and masks: arrays in, a figure out.

Needs matplotlib: ``pip install "jaxdrop[plots]"``. Every function draws into ``ax`` or
into a new figure, and returns the figure; nothing is shown, and pyplot is not used, so
figures are freed like other objects. Save one with ``figure.savefig("name.png")``.
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
