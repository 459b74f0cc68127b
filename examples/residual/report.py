"""The report: tables for the terminal, and every number in a file."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from data import replacing
from residual.methods import Method
from residual.training import Scores
from study import gains, words
from study.gains import Gain
from study.words import Subject


class Outcome(NamedTuple):
    """What is known of a method at a strength.

    Attributes:
      method: the method.
      strength: its strength.
      checks: scores on validation images in the course of training, each
        ``(seeds, checks)`` and more.
      test: scores on test images in the end, each ``(seeds,)``, and which are wrong,
        ``(seeds, images)``.
      train: the same on training images.
      seconds: what an epoch took, ``(seeds,)``.
    """

    method: Method
    strength: float
    checks: Scores
    test: Scores
    train: Scores
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


def gains_of(outcomes: list[Outcome]) -> list[Gain]:
    """What each method gains over the first one in error, corrected for their number.

    The intervals cover the choice of seeds and of test images.
    """
    return gains.gains({o.method.name: o.test.wrong for o in outcomes})


def scores(outcomes: list[Outcome], *, title: str) -> Table:
    """Test scores of all methods, beside the first one."""
    reference, num_seeds = outcomes[0], len(outcomes[0].test.error)
    num_images = outcomes[0].test.wrong.shape[1]
    table = _table(
        title,
        f"Means over {num_seeds} seeds ± their standard error over seeds. Gain: error "
        f"of {reference.method.name} less that of the method, in points; its interval "
        f"covers seeds and {num_images} test images, and all hold together (95 %, "
        "Holm). ms: of an epoch, the median.",
        *("method", "strength", "error %", "gain", "interval"),
        *("test\nNLL", "train\nNLL", "ms"),
    )
    found = gains_of(outcomes) if len(outcomes) > 1 else []
    columns = (
        [outcome.method.name for outcome in outcomes],
        [_strength(outcome) for outcome in outcomes],
        words.with_errors([outcome.test.error for outcome in outcomes], scale=100),
        *zip(("–", "–"), *words.intervals(found, scale=100), strict=True),
        words.with_errors([outcome.test.nll for outcome in outcomes]),
        _means([outcome.train.nll for outcome in outcomes]),
        [f"{1000 * np.median(outcome.seconds):.0f}" for outcome in outcomes],
    )
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


def _means(column: list[np.ndarray]) -> list[str]:
    """Means with the digits that their errors allow, but without these."""
    return [cell.split("±")[0] for cell in words.with_errors(column)]


def verdict(outcomes: list[Outcome], *, where: str) -> str:
    """Which method to use, and how sure that is.

    Args:
      outcomes: the methods, the first of which the others are compared with.
      where: where they were measured, as ``"On digits"``.

    Returns:
      One or two sentences; none about chance with fewer than three seeds.
    """
    if len(outcomes) == 1:
        return "There is nothing to compare: name another method with --methods."
    return words.conclusion(
        gains_of(outcomes),
        Subject(where=where, baseline=outcomes[0].method.name),
        best=gains.ties({o.method.name: o.test.wrong for o in outcomes}),
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


def write_json(
    path: Path, outcomes: list[Outcome], *, title: str, recipe: dict[str, Any]
) -> None:
    """Writes what a table needs, with how it was measured."""
    found = {gain.name: gain._asdict() for gain in gains_of(outcomes)}
    methods = [
        {
            "name": outcome.method.name,
            "knob": outcome.method.knob,
            "strength": outcome.strength,
            "test_error": outcome.test.error.tolist(),
            "test_nll": outcome.test.nll.tolist(),
            "train_error": outcome.train.error.tolist(),
            "train_nll": outcome.train.nll.tolist(),
            "gain": found.get(outcome.method.name),
        }
        for outcome in outcomes
    ]
    num_images = outcomes[0].test.wrong.shape[1]
    content = {"title": title, "recipe": recipe, "test_images": num_images}
    content = json.dumps(content | {"methods": methods}, indent=1)
    with replacing(path) as partial:
        partial.write_text(content.replace("NaN", "null") + "\n")


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, strength and seed."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        parts = ("validation", "test", "train")
        heads = [f"{part}_{score}" for part in parts for score in ("error", "nll")]
        writer.writerow(["method", "strength", "seed", *heads, "epoch_seconds"])
        for outcome in outcomes:
            columns = (
                outcome.checks.error[:, -1],
                outcome.checks.nll[:, -1],
                *outcome.test[:2],
                *outcome.train[:2],
                outcome.seconds,
            )
            for seed, row in enumerate(zip(*columns, strict=True)):
                writer.writerow([outcome.method.name, outcome.strength, seed, *row])
