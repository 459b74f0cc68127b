"""What is known of the methods in the end: outcomes, gains, and what predictions know.

:func:`judge` compares each method with the first one, in three scores and two
predictions; :func:`panel` tells what predictions know of their errors and of images
that belong to no class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from comparison import answers
from comparison.answers import MC_DROPOUT, WEIGHT_SCALING, Answers, Scores
from comparison.method import Method
from comparison.representation import Representation
from comparison.search import Search
from comparison.training import Curves, Training
from data import Split
from jaxdrop import metrics
from study import gains, words
from study.calibration import resampled_ece
from study.gains import Gain, Resampled

LEVEL = gains.LEVEL
SCORES = {  # the unit of a gain times its factor
    "error": ("points", 100.0),
    "NLL": ("nats", 1.0),
    "ECE": ("points", 100.0),
}
MEMBERS = 5
_REJECTED = 0.1


class Outcome(NamedTuple):
    """What is known of a method in the end.

    Attributes:
      method: the method.
      curves: its learning curves, ``(seeds, epochs)``.
      scores: its test scores by weight scaling, and if it is random by MC dropout.
      seconds: what training took, all seeds together (and all strengths of a sweep).
      search: what a sweep has found.
      representation: what the trained networks look like inside.
      compile_seconds: what compilation took.
      answers: by the way to predict, the answers to test images and to images of no
        class.
    """

    method: Method
    curves: Curves
    scores: dict[str, Scores]
    seconds: float
    search: Search | None = None
    representation: Representation | None = None
    compile_seconds: float = 0.0
    answers: dict[str, tuple[Answers, Answers]] | None = None


def outcome_of(
    method: Method,
    training: Training,
    search: Search | None,
    asked: dict[str, tuple[Answers, Answers]],
    labels: np.ndarray,
) -> Outcome:
    """What is known of a method whose networks have been asked.

    Args:
      method: the method.
      training: how its networks were trained.
      search: what its search for a strength has found.
      asked: what :func:`comparison.answers.ask` gives.
      labels: of the test images.

    Returns:
      The outcome, with the scores of the answers.
    """
    return Outcome(
        method,
        training.curves,
        {way: answers.scores(known, labels) for way, (known, _) in asked.items()},
        training.seconds,
        search=search,
        compile_seconds=training.compile_seconds,
        answers=asked,
    )


class Verdicts(NamedTuple):
    """Gains over the first method, the baseline.

    Attributes:
      baseline: its name; it always predicts by weight scaling.
      gains: by the way to predict and by the score, a gain for each method.
      best: the methods whose error cannot be distinguished from the least.
    """

    baseline: str
    gains: dict[str, dict[str, list[Gain]]]
    best: tuple[str, ...]


def judge(outcomes: Sequence[Outcome], test: Split) -> Verdicts:
    """Compares all methods with the first one, on the same seeds and test images.

    Intervals and p-values of a score and a way to predict are corrected for the number
    of methods.
    """
    baseline = outcomes[0].method.name
    tables = {
        way: {
            o.method.name: _losses(o, way, test) for o in outcomes if way in o.answers
        }
        for way in (WEIGHT_SCALING, MC_DROPOUT)
    }
    reference = tables[WEIGHT_SCALING][baseline]
    found = {}
    for way, by_method in tables.items():
        others = {n: table for n, table in by_method.items() if n != baseline}
        compared = {baseline: reference, **others}
        found[way] = {
            score: gains.gains(
                {name: table[score] for name, table in compared.items()}, level=LEVEL
            )
            for score in SCORES
        }
    errors = {name: table["error"] for name, table in tables[WEIGHT_SCALING].items()}
    return Verdicts(baseline, found, gains.ties(errors, level=LEVEL))


def _losses(
    outcome: Outcome, way: str, test: Split
) -> dict[str, np.ndarray | Resampled]:
    """The losses that gains are computed from, ``(seeds, images)``."""
    answer, _ = outcome.answers[way]
    wrong = outcome.scores[way].wrong
    return {
        "error": wrong.astype(float),
        "NLL": answer.losses(test.y),
        "ECE": resampled_ece(answer.confidence, ~wrong),
    }


def ranked(outcomes: Sequence[Outcome], verdicts: Verdicts) -> list[Outcome]:
    """The outcomes by their gain in error, the largest first; the baseline at 0."""
    found = {g.name: g.estimate for g in verdicts.gains[WEIGHT_SCALING]["error"]}
    found[verdicts.baseline] = 0.0
    return sorted(
        outcomes,
        key=lambda o: -np.nan_to_num(found[o.method.name], nan=-np.inf),
    )


def conclusion(verdicts: Verdicts, where: str) -> str:
    """One or two sentences: which method, and how sure that is."""
    found = verdicts.gains[WEIGHT_SCALING]
    subject = words.Subject(where=where, baseline=verdicts.baseline, level=LEVEL)
    prices = {"calibration": found["ECE"], "likelihood": found["NLL"]}
    return words.conclusion(found["error"], subject, best=verdicts.best, prices=prices)


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
        both = (answers.ensembles(answer, MEMBERS) for answer in (known, strange))
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
    judged = answers.scores(known, labels)
    return Row(
        method=method,
        way=way,
        trainings=trainings,
        error=judged.error,
        nll=judged.nll,
        ece=judged.ece,
        by_entropy=answers.auroc(known.entropy, strange.entropy),
        by_information=answers.auroc(known.information, strange.information),
        covered=_covered(known.confidence, ~judged.wrong),
    )


def _covered(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    curves = map(metrics.accuracy_rejection, confidence, correct)
    return np.array([curve.accuracy_at(_REJECTED) for curve in curves])
