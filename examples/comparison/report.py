"""The report: a table for the terminal, and every number in a file."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from comparison.evaluation import Scores
from comparison.method import Method
from comparison.representation import Representation
from comparison.training import Curves
from data import replacing

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
    """

    method: Method
    curves: Curves
    scores: dict[str, Scores]
    seconds: float
    search: Search | None = None
    representation: Representation | None = None
    compile_seconds: float = 0.0


def table(outcomes: list[Outcome], *, title: str, num_samples: int) -> Table:
    """Test scores of all methods, with the best of each column in bold."""
    num_seeds = len(outcomes[0].scores[WEIGHT_SCALING].error)
    caption = (
        f"Means over {num_seeds} seeds, errors with their standard error. First by one "
        "pass without noise (weight scaling), then by MC dropout, the mean of "
        f"{num_samples} passes; a dash: no noise, all passes are the same. "
        "s: seconds to train all seeds."
    )
    report = Table(
        title=title,
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    report.add_column("method", no_wrap=True, vertical="bottom")
    columns = [[outcome.method.name for outcome in outcomes]]
    for prefix, prediction in (("", WEIGHT_SCALING), ("MC\n", MC_DROPOUT)):
        for heading, score, show in (
            ("error %", "error", partial(with_error, percent=True)),
            ("NLL", "nll", lambda nll: f"{nll.mean():.3f}"),
            ("ECE %", "ece", lambda ece: f"{100 * ece.mean():.1f}"),
        ):
            report.add_column(prefix + heading, justify="right", no_wrap=True)
            scores = [outcome.scores.get(prediction) for outcome in outcomes]
            columns.append(_cells([getattr(s, score, None) for s in scores], show))
    report.add_column("s", justify="right")
    columns.append([f"{outcome.seconds:.0f}" for outcome in outcomes])
    for row in zip(*columns, strict=True):
        report.add_row(*row)
    return report


def _cells(
    column: list[np.ndarray | None], show: Callable[[np.ndarray], str]
) -> list[str]:
    """What a column shows; the smallest mean in bold, a dash for nothing."""
    best = min((values.mean() for values in column if values is not None), default=0)
    cells = []
    for values in column:
        cell = "–" if values is None else show(values)
        is_best = values is not None and values.mean() == best
        cells.append(f"[bold]{cell}[/bold]" if is_best else cell)
    return cells


def with_error(values: np.ndarray, *, percent: bool = False, digits: int = 2) -> str:
    """The mean over seeds, with its standard error where there are several."""
    values = np.asarray(values, float) * (100 if percent else 1)
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean}±{values.std(ddof=1) / len(values) ** 0.5:.{digits}f}"


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, way to predict, and seed."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["method", "prediction", "seed", "error", "nll", "ece", "train_seconds"]
        )
        for outcome in outcomes:
            for prediction, (error, nll, ece, *_) in outcome.scores.items():
                for seed, row in enumerate(zip(error, nll, ece, strict=True)):
                    numbers = [f"{number:.6g}" for number in (*row, outcome.seconds)]
                    writer.writerow([outcome.method.name, prediction, seed, *numbers])
