"""What predictions know of their errors and of images that belong to no class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from comparison.answers import Answers, auroc, ensembles, scores
from comparison.report import MC_DROPOUT, WEIGHT_SCALING, Outcome
from jaxdrop import metrics

MEMBERS = 5
_REJECTED = 0.1


class Row(NamedTuple):
    """One way to predict; arrays have the seeds, or the ensembles, as their axis.

    Attributes:
      method: the name of the method.
      way: how it predicts.
      trainings: how many networks are trained for a prediction.
      error: the share of wrong classes.
      nll: the negative log-likelihood, in nats.
      ece: the expected calibration error.
      by_entropy: the AUROC of the predictive entropy against strange images.
      by_information: that of the mutual information; NaN of one pass.
      covered: the accuracy on the 90 % of test images with the largest confidence.
    """

    method: str
    way: str
    trainings: int
    error: np.ndarray
    nll: np.ndarray
    ece: np.ndarray
    by_entropy: np.ndarray
    by_information: np.ndarray
    covered: np.ndarray


def panel(outcomes: Sequence[Outcome], labels: np.ndarray) -> list[Row]:
    """All methods, with and without samples, and ensembles of the first.

    The networks of the first method, without noise, form ensembles of five if there are
    as many; each counts as one seed.
    """
    rows = [
        _row(outcome.method.name, way, 1, *answer, labels)
        for outcome in outcomes
        for way, answer in outcome.answers.items()
    ]
    known, strange = outcomes[0].answers[WEIGHT_SCALING]
    if len(known.entropy) >= MEMBERS:
        both = (ensembles(answer, MEMBERS) for answer in (known, strange))
        name = f"ensemble of {MEMBERS}, {outcomes[0].method.name}"
        rows.append(_row(name, "mean", MEMBERS, *both, labels))
    return rows


def _row(
    method: str,
    way: str,
    trainings: int,
    known: Answers,
    strange: Answers,
    labels: np.ndarray,
) -> Row:
    judged = scores(known, labels)
    return Row(
        method=method,
        way=way,
        trainings=trainings,
        error=judged.error,
        nll=judged.nll,
        ece=judged.ece,
        by_entropy=auroc(known.entropy, strange.entropy),
        by_information=auroc(known.information, strange.information),
        covered=_covered(known.confidence, ~judged.wrong),
    )


def _covered(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    curves = map(metrics.accuracy_rejection, confidence, correct)
    return np.array([curve.accuracy_at(_REJECTED) for curve in curves])


def short(row: Row) -> str:
    """The way to predict, as a column has room for it."""
    return {WEIGHT_SCALING: "one", MC_DROPOUT: "MC"}.get(row.way, row.way)
