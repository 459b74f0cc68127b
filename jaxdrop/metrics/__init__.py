"""Metrics: calibration, proper scores, detection, selective prediction, regression.

Predictions come first, then what was observed. Class probabilities have their classes
on the last axis, labels are integers, and every axis before is a batch. Results are
means over the batch, in float32 or wider; ``jax.vmap`` of a metric gives one value per
example. ``weights=`` says how much each example counts: one of weight 0, a padding row,
may hold anything, NaN included. All functions work under ``jax.jit`` and ``jax.vmap``,
on NumPy and JAX arrays. What cannot be raised under ``jit`` becomes NaN: a label that
names no class, a probability outside ``[0, 1]``, a batch without examples.
"""

from jaxdrop.metrics._bins import CalibrationBins as CalibrationBins
from jaxdrop.metrics._calibration import (
    adaptive_calibration_error as adaptive_calibration_error,
)
from jaxdrop.metrics._calibration import calibration_bins as calibration_bins
from jaxdrop.metrics._calibration import (
    classwise_calibration_error as classwise_calibration_error,
)
from jaxdrop.metrics._calibration import (
    debiased_calibration_error as debiased_calibration_error,
)
from jaxdrop.metrics._calibration import (
    expected_calibration_error as expected_calibration_error,
)
from jaxdrop.metrics._calibration import (
    maximum_calibration_error as maximum_calibration_error,
)
from jaxdrop.metrics._detection import auroc as auroc
from jaxdrop.metrics._detection import average_precision as average_precision
from jaxdrop.metrics._detection import fpr_at_tpr as fpr_at_tpr
from jaxdrop.metrics._intervals import interval_coverage as interval_coverage
from jaxdrop.metrics._intervals import interval_width as interval_width
from jaxdrop.metrics._intervals import pinball_loss as pinball_loss
from jaxdrop.metrics._intervals import winkler_score as winkler_score
from jaxdrop.metrics._proper_scores import BrierDecomposition as BrierDecomposition
from jaxdrop.metrics._proper_scores import brier_decomposition as brier_decomposition
from jaxdrop.metrics._proper_scores import brier_score as brier_score
from jaxdrop.metrics._proper_scores import (
    negative_log_likelihood as negative_log_likelihood,
)
from jaxdrop.metrics._regression import RegressionCalibration as RegressionCalibration
from jaxdrop.metrics._regression import crps_gaussian as crps_gaussian
from jaxdrop.metrics._regression import crps_samples as crps_samples
from jaxdrop.metrics._regression import regression_calibration as regression_calibration
from jaxdrop.metrics._regression import sharpness as sharpness
from jaxdrop.metrics._selective import AccuracyRejection as AccuracyRejection
from jaxdrop.metrics._selective import RiskCoverage as RiskCoverage
from jaxdrop.metrics._selective import accuracy_rejection as accuracy_rejection
from jaxdrop.metrics._selective import aurc as aurc
from jaxdrop.metrics._selective import risk_coverage as risk_coverage
from jaxdrop.metrics._temperature import temperature_scaling as temperature_scaling
