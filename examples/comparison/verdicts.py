"""What each method gains over the first one, in three scores and two predictions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from comparison.report import MC_DROPOUT, WEIGHT_SCALING, Outcome
from data import Split
from study import gains, words
from study.calibration import resampled_ece
from study.gains import Gain, Resampled

LEVEL = gains.LEVEL
SCORES = {  # the unit of a gain times its factor
    "error": ("points", 100.0),
    "NLL": ("nats", 1.0),
    "ECE": ("points", 100.0),
}


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
