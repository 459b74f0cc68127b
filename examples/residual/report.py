"""The report: tables for the terminal, and every number in a file."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from residual.methods import Method
from residual.training import Scores


class Outcome(NamedTuple):
    """What is known of a method at a strength.

    Attributes:
      method: the method.
      strength: its strength.
      checks: scores on validation images in the course of training, each
        ``(seeds, checks)``.
      test: scores on test images in the end, each ``(seeds,)``.
      seconds: what an epoch took, ``(seeds,)``.
    """

    method: Method
    strength: float
    checks: Scores
    test: Scores
    seconds: np.ndarray


def with_error(values: np.ndarray, digits: int) -> str:
    """A mean with its standard error."""
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    error = values.std(ddof=1) / len(values) ** 0.5
    return f"{mean}±{error:.{digits}f}"


def _table(title: str, caption: str, *headings: str) -> Table:
    table = Table(
        title=title,
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for heading in headings:
        justify = "left" if heading == "method" else "right"
        table.add_column(heading, justify=justify, no_wrap=True, vertical="bottom")
    return table


def scores(outcomes: list[Outcome], *, title: str) -> Table:
    """Test scores of all methods, beside the first one."""
    reference, num_seeds = outcomes[0], len(outcomes[0].test.error)
    table = _table(
        title,
        f"Means over {num_seeds} seeds with their standard error. Gain: errors of "
        f"{reference.method.name} less those of the method, seed by seed. An epoch: "
        "the median, in milliseconds.",
        "method",
        "strength",
        "error %",
        "gain",
        "NLL",
        "epoch",
    )
    for outcome in outcomes:
        is_reference = outcome is reference
        gain = 100 * (reference.test.error - outcome.test.error)
        table.add_row(
            outcome.method.name,
            _strength(outcome),
            with_error(100 * outcome.test.error, 2),
            "–" if is_reference else with_error(gain, 2),
            with_error(outcome.test.nll, 3),
            f"{1000 * np.median(outcome.seconds):.0f}",
        )
    return table


def verdict(outcomes: list[Outcome]) -> str:
    """Which gains are more than chance, as far as the seeds can tell."""
    reference, *others = outcomes
    if len(reference.test.error) == 1:
        return "One seed says nothing about chance."
    better, worse, unclear = [], [], []
    for outcome in others:
        gain = reference.test.error - outcome.test.error
        error = gain.std(ddof=1) / len(gain) ** 0.5
        clear = abs(gain.mean()) > 2 * error
        group = (better if gain.mean() > 0 else worse) if clear else unclear
        group.append(outcome.method.name)
    name = reference.method.name
    groups = {
        f"Better than {name} by more than two standard errors": better,
        "Worse by more than two": worse,
        "Within two, so that these seeds cannot tell": unclear,
    }
    return "\n".join(
        f"{label}: {', '.join(names)}." for label, names in groups.items() if names
    )


def tuning(outcomes: list[Outcome], *, title: str) -> Table:
    """Validation scores of all strengths; those of the lowest NLL are starred."""
    table = _table(
        title,
        "On validation images. *: the lowest negative log-likelihood of the method, "
        "which is less a matter of chance than errors are.",
        "method",
        "strength",
        "error %",
        "NLL",
    )
    for outcome in outcomes:
        rivals = [o for o in outcomes if o.method.name == outcome.method.name]
        best = min(rivals, key=lambda o: o.checks.nll[:, -1].mean())
        star = "*" if outcome is best and len(rivals) > 1 else " "
        table.add_row(
            outcome.method.name,
            _strength(outcome) + star,
            with_error(100 * outcome.checks.error[:, -1], 2),
            with_error(outcome.checks.nll[:, -1], 3),
        )
    return table


def _strength(outcome: Outcome) -> str:
    if not outcome.method.candidates:
        return "–"
    return f"{outcome.method.knob} {outcome.strength:g}"


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, strength and seed."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        heads = ["validation_error", "validation_nll", "test_error", "test_nll"]
        writer.writerow(["method", "strength", "seed", *heads, "epoch_seconds"])
        for outcome in outcomes:
            columns = (
                outcome.checks.error[:, -1],
                outcome.checks.nll[:, -1],
                *outcome.test,
                outcome.seconds,
            )
            for seed, row in enumerate(zip(*columns, strict=True)):
                writer.writerow([outcome.method.name, outcome.strength, seed, *row])
