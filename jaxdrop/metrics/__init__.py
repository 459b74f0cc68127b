"""Metrics: calibration, proper scores, detection, selective prediction, regression.

Predictions come first, then observations. The last axis of class probabilities holds
the classes, labels are integers, and all other axes are batch axes. Results are
means over the batch, in float32 or wider; ``jax.vmap`` of a metric gives one value per
example. ``weights=`` gives each example a weight; an example of weight 0, such as a
padding row, may hold anything, NaN included. All functions work under ``jax.jit`` and
``jax.vmap``, on NumPy and JAX arrays. Invalid values that cannot raise under ``jit``
give NaN: a label that is not a class, a probability outside ``[0, 1]``, a batch without
examples. Batches may be sharded over devices; on an explicit mesh results are whole
on every device. Numbers from NumPy are compared and subtracted in their own precision
before they become float32. For a binary model with one logit see
:func:`binary_logits`.

Calibration:

* :func:`expected_calibration_error`: the mean gap between accuracy and confidence.
* :func:`adaptive_calibration_error`: the same with bins of equal mass.
* :func:`classwise_calibration_error`: the same for every class's probability.
* :func:`debiased_calibration_error`: an unbiased estimate of the squared error.
* :func:`maximum_calibration_error`: the largest gap of any bin.
* :func:`calibration_bins`: the :class:`CalibrationBins` behind all of these,
  which add up over batches.
* :func:`temperature_scaling`: the temperature that maximizes the likelihood of
  labels.

Proper scores of classes:

* :func:`negative_log_likelihood`: minus the log-probability of the true class.
* :func:`brier_score`: the squared distance of probabilities from one-hot labels.
* :func:`brier_decomposition`: its parts, a :class:`BrierDecomposition`.
* :func:`binary_logits`: two classes made of the one logit of a binary model.

Detection:

* :func:`auroc`: the area under the ROC curve.
* :func:`average_precision`: the area under the precision-recall curve.
* :func:`fpr_at_tpr`: the false positive rate at a true positive rate.

Selective prediction:

* :func:`risk_coverage`: the loss on the most confident examples, a
  :class:`RiskCoverage`.
* :func:`aurc`: the area under that curve.
* :func:`accuracy_rejection`: the accuracy after rejection of the least confident
  examples, an :class:`AccuracyRejection`.

Regression:

* :func:`crps_gaussian`, :func:`crps_samples`: the continuous ranked probability score.
* :func:`regression_calibration`: predicted quantiles and variances against
  observations, a :class:`RegressionCalibration`.
* :func:`sharpness`: the root of the mean predicted variance.
* :func:`interval_coverage`: the share of targets inside their intervals.
* :func:`interval_width`: the mean width of the intervals.
* :func:`winkler_score`: the proper score of an interval.
* :func:`pinball_loss`: the proper score of a quantile.
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
from jaxdrop.metrics._probabilities import binary_logits as binary_logits
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

__all__ = [
    "AccuracyRejection",
    "BrierDecomposition",
    "CalibrationBins",
    "RegressionCalibration",
    "RiskCoverage",
    "accuracy_rejection",
    "adaptive_calibration_error",
    "aurc",
    "auroc",
    "average_precision",
    "binary_logits",
    "brier_decomposition",
    "brier_score",
    "calibration_bins",
    "classwise_calibration_error",
    "crps_gaussian",
    "crps_samples",
    "debiased_calibration_error",
    "expected_calibration_error",
    "fpr_at_tpr",
    "interval_coverage",
    "interval_width",
    "maximum_calibration_error",
    "negative_log_likelihood",
    "pinball_loss",
    "regression_calibration",
    "risk_coverage",
    "sharpness",
    "temperature_scaling",
    "winkler_score",
]


def __dir__() -> list[str]:
    return sorted(__all__)
