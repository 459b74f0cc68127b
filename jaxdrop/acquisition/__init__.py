"""Acquisition functions for active learning: which points of a pool to label next.

Every function takes logits of samples, ``(samples, points, classes)``, such as
``mc.samples(apply_fn, key, params, pool, num_samples=100, draws="shared")``, and
returns one score for each point: the higher, the more informative its label. Scores
that depend on several points at once, :func:`batch_bald` and :func:`epig`, need shared
draws. The scores of single points can also be computed without storing samples, by
``mc.predict``. Samples may be sharded over devices; on an explicit mesh scores are
whole on every device. For a binary model with one logit see
:func:`jaxdrop.metrics.binary_logits`.

* :func:`bald`: the mutual information of a label and the model.
* :func:`max_entropy`: the entropy of the mean prediction.
* :func:`variation_ratio`: the share of samples against the class with the most votes.
* :func:`margin`: how close the two most probable classes are.
* :func:`batch_bald`: the points that are jointly most informative, a
  :class:`Selection`.
* :func:`epig`: the mutual information with the labels of target inputs.
"""

from jaxdrop.acquisition._batch_bald import Selection as Selection
from jaxdrop.acquisition._batch_bald import batch_bald as batch_bald
from jaxdrop.acquisition._epig import epig as epig
from jaxdrop.acquisition._scores import bald as bald
from jaxdrop.acquisition._scores import margin as margin
from jaxdrop.acquisition._scores import max_entropy as max_entropy
from jaxdrop.acquisition._scores import variation_ratio as variation_ratio

__all__ = [
    "Selection",
    "bald",
    "batch_bald",
    "epig",
    "margin",
    "max_entropy",
    "variation_ratio",
]


def __dir__() -> list[str]:
    return sorted(__all__)
