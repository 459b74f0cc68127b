"""The outcome of a method, and its scores in a file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from comparison.answers import Answers
from comparison.evaluation import Scores
from comparison.method import Method
from comparison.representation import Representation
from comparison.training import Curves
from study import files

WEIGHT_SCALING = "weight scaling"
MC_DROPOUT = "MC dropout"


class Search(NamedTuple):
    """What a sweep has found on validation images.

    Attributes:
      strengths: the grid, arrays ``(strengths,)`` by name.
      error: the share of wrong classes, ``(strengths, seeds)``.
      nll: the negative log-likelihood, likewise.
      choice: the index of the chosen strength.
    """

    strengths: dict[str, np.ndarray]
    error: np.ndarray
    nll: np.ndarray
    choice: int

    def tried(self, name: str) -> tuple[float, ...]:
        """The values of one field that were tried, ascending."""
        return tuple(sorted(set(self.strengths[name].tolist())))

    @property
    def chosen(self) -> dict[str, float]:
        """The chosen strength, by name."""
        return {
            name: float(values[self.choice]) for name, values in self.strengths.items()
        }


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
      search_seconds: what the search for a strength took, if it was one of its own.
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
    search_seconds: float = 0.0
    answers: dict[str, tuple[Answers, Answers]] | None = None


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, way to predict, and seed."""
    header = ("method", "prediction", "seed", "error", "nll", "ece", "train_seconds")
    rows = [
        (outcome.method.name, prediction, seed, *row, outcome.seconds)
        for outcome in outcomes
        for prediction, scores in outcome.scores.items()
        for seed, row in enumerate(zip(*scores[:3], strict=True))
    ]
    files.write_csv(path, header, rows)
