"""The report: a table for the terminal, every number in a file, and two figures."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from data import replacing
from jaxdrop import plots
from study import gains, words
from text.training import Curves, Scores


class Outcome(NamedTuple):
    """What is known of a method in the end.

    Attributes:
      name: of the method.
      curves: bits per character over the rounds.
      scores: those of the test text.
      seconds: what training took, all runs together, without compilation.
    """

    name: str
    curves: Curves
    scores: Scores
    seconds: float

    @property
    def best_validation(self) -> np.ndarray:
        """The score by which each run's best parameters were chosen."""
        return np.nanmin(self.curves.validation, axis=1)


def with_error(values: np.ndarray) -> str:
    """The mean of runs, with its standard error if there are several."""
    mean = f"{values.mean():.3f}"
    if len(values) == 1:
        return mean
    return f"{mean}±{values.std(ddof=1) / len(values) ** 0.5:.3f}"


def table(outcomes: list[Outcome], *, title: str, round_steps: int) -> Table:
    """Bits per character of all methods."""
    num_seeds = len(outcomes[0].scores.last)
    report = Table(
        title=title,
        caption=(
            f"Bits per character, means over {num_seeds} seeds ± their standard error: "
            "of the parameters with the best validation score, and of the last. "
            "step: when validation was best. s: seconds to train all seeds."
        ),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    report.add_column("method", no_wrap=True, vertical="bottom")
    columns = [[outcome.name for outcome in outcomes]]
    for heading, values in (
        ("best\nvalidation", [o.best_validation for o in outcomes]),
        ("best\ntest", [o.scores.best for o in outcomes]),
        ("last\ntest", [o.scores.last for o in outcomes]),
    ):
        report.add_column(heading, justify="right", no_wrap=True)
        columns.append(words.with_errors(values, without=3))
    report.add_column("last\ntrain", justify="right", no_wrap=True)
    columns.append([f"{o.curves.train[:, -1].mean():.2f}" for o in outcomes])
    report.add_column("step", justify="right", vertical="bottom")
    rounds = [1 + o.curves.validation.argmin(1).mean() for o in outcomes]
    columns.append([f"{round_steps * number:.0f}" for number in rounds])
    report.add_column("s", justify="right", vertical="bottom")
    columns.append([f"{outcome.seconds:.0f}" for outcome in outcomes])
    for row in zip(*columns, strict=True):
        report.add_row(*row)
    return report


def verdict(outcomes: list[Outcome], *, where: str, last: bool = False) -> str:
    """Which method to use, and how sure the seeds are of that.

    Args:
      outcomes: the methods, the first of which the others are compared with.
      where: where they were measured, as ``"On Python's help"``.
      last: whether the last parameters are judged, and not those with the best
        validation score.

    Returns:
      One or two sentences. The seeds are a sample here, the test text is not.
    """
    if len(outcomes) == 1:
        return "There is nothing to compare: name another method with --methods."
    scores = {o.name: o.scores.last if last else o.scores.best for o in outcomes}
    subject = words.Subject(
        where=where,
        score="bits per test character",
        unit="bits",
        scale=1.0,
        baseline=outcomes[0].name,
    )
    return words.conclusion(gains.gains(scores), subject, best=gains.ties(scores))


def write_json(
    path: Path, outcomes: list[Outcome], *, title: str, recipe: dict[str, Any]
) -> None:
    """Writes what a table needs, with how it was measured."""
    methods = [
        {
            "name": outcome.name,
            "best_validation": outcome.best_validation.tolist(),
            "best_test": outcome.scores.best.tolist(),
            "last_test": outcome.scores.last.tolist(),
            "last_training": outcome.curves.train[:, -1].tolist(),
            "train_seconds": round(outcome.seconds, 1),
        }
        for outcome in outcomes
    ]
    content = {"title": title, "recipe": recipe, "methods": methods}
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method and seed."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *("method", "seed", "best_validation", "best_test", "last_test"),
                *("last_training", "train_seconds"),
            ]
        )
        for name, curves, scores, seconds in outcomes:
            columns = curves.validation.min(1), *scores, curves.train[:, -1]
            for seed, row in enumerate(zip(*columns, strict=True)):
                writer.writerow([name, seed, *row, round(seconds, 3)])


def learning_curves(outcomes: list[Outcome], *, title: str, round_steps: int) -> Figure:
    """Training and validation text side by side, a line for each method."""
    figure = plots.new_figure(2, height=3.8)
    panels = figure.subplots(1, 2)
    for axes, part in zip(panels, Curves._fields, strict=True):
        history = {o.name: getattr(o.curves, part) for o in outcomes}
        steps = round_steps * np.arange(1, 1 + outcomes[0].curves.train.shape[1])
        plots.learning_curves(
            history, steps=steps, xlabel="step", ylabel="bits per character", ax=axes
        )
        name = {"train": "training"}.get(part, part)
        axes.set_title(f"{name} text, no noise", fontsize=10)
        axes.grid(color="0.92", lw=0.6)
        axes.get_legend().remove()
        values = np.concatenate([getattr(o.curves, part) for o in outcomes])
        lowest, highest = values.min(), values[:, -1].max()
        axes.set_ylim(lowest - 0.1, max(highest, lowest + 0.5) + 0.3)
    panels[1].set_ylabel("")
    handles, labels = panels[1].get_legend_handles_labels()
    figure.suptitle(title, fontsize=11)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 4),
        frameon=False,
        fontsize="small",
    )
    return figure


def test_scores(outcomes: list[Outcome], *, title: str) -> Figure:
    """The test text by the best and by the last parameters, with standard errors."""
    series = {}
    for field, when in (("best", "best on validation"), ("last", "at the end")):
        values = [getattr(outcome.scores, field) for outcome in outcomes]
        mean = np.array([runs.mean() for runs in values])
        error = [
            runs.std(ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else np.nan
            for runs in values
        ]
        series[f"parameters {when}"] = mean, mean - error, mean + error
    figure = plots.forest(
        [outcome.name for outcome in outcomes],
        series,
        xlabel="bits per character of the test text",
        zero=None,
        interval="± standard error over seeds",
    )
    figure.axes[0].set_title(title, fontsize=11)
    return figure
