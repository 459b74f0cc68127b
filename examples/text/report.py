"""The report: a table for the terminal, every number in a file, and two figures."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from jaxdrop import plots
from study import files, words
from study.tables import new_table
from text.training import Curves, Scores


class Outcome(NamedTuple):
    """What is known of a method in the end.

    Attributes:
      name: of the method.
      curves: bits per character over the rounds.
      scores: those of the test text.
      seconds: what training took, all runs together, without compilation.
      strength: the rates that the method has of its own, by their names.
    """

    name: str
    curves: Curves
    scores: Scores
    seconds: float
    strength: dict[str, float] | None = None

    @property
    def best_validation(self) -> np.ndarray:
        """The score by which each run's best parameters were chosen."""
        return np.nanmin(self.curves.validation, axis=1)


def table(outcomes: list[Outcome], *, title: str, round_steps: int) -> Table:
    """Bits per character of all methods."""
    caption = (
        f"Bits per character, means over {len(outcomes[0].scores.last)} seeds ± their "
        "standard error: of the parameters with the best validation score, and of the "
        "last. step: when validation was best. s: seconds to train all seeds."
    )
    rounds = [1 + o.curves.validation.argmin(1).mean() for o in outcomes]
    columns = (
        [outcome.name for outcome in outcomes],
        words.with_errors([o.best_validation for o in outcomes], without=3),
        words.with_errors([o.scores.best for o in outcomes], without=3),
        words.with_errors([o.scores.last for o in outcomes], without=3),
        [f"{o.curves.train[:, -1].mean():.2f}" for o in outcomes],
        [f"{round_steps * number:.0f}" for number in rounds],
        [f"{outcome.seconds:.0f}" for outcome in outcomes],
    )
    tests = ("best\nvalidation", "best\ntest", "last\ntest", "last\ntrain")
    headings = ("method", *tests, "step", "s")
    return new_table(title, headings, caption=caption, columns=columns)


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
    scores = {o.name: o.scores.last if last else o.scores.best for o in outcomes}
    subject = words.Subject(
        where=where,
        score="bits per test character",
        unit="bits",
        scale=1.0,
        baseline=outcomes[0].name,
    )
    return words.verdict(scores, subject)


def write(
    folder: Path,
    name: str,
    outcomes: list[Outcome],
    *,
    title: str,
    recipe: dict[str, Any],
) -> None:
    """Writes every number, in CSV and in JSON."""
    write_csv(folder / f"{name}.csv", outcomes)
    write_json(folder / f"{name}.json", outcomes, title=title, recipe=recipe)


def write_json(
    path: Path, outcomes: list[Outcome], *, title: str, recipe: dict[str, Any]
) -> None:
    """Writes what a table needs, with how it was measured."""
    methods = [
        {
            "name": outcome.name,
            "strength": outcome.strength,
            "best_validation": outcome.best_validation,
            "best_test": outcome.scores.best,
            "last_test": outcome.scores.last,
            "last_training": outcome.curves.train[:, -1],
            "train_seconds": round(outcome.seconds, 1),
        }
        for outcome in outcomes
    ]
    content = {"title": title, "recipe": recipe, "methods": methods}
    files.write_results(path, content)


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method and seed."""
    header = (
        *("method", "seed", "best_validation", "best_test", "last_test"),
        *("last_training", "train_seconds"),
    )
    rows = [
        (o.name, seed, *row, o.seconds)
        for o in outcomes
        for seed, row in enumerate(
            zip(o.best_validation, *o.scores, o.curves.train[:, -1], strict=True)
        )
    ]
    files.write_csv(path, header, rows)


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
        error = [words.standard_error(runs) for runs in values]
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
