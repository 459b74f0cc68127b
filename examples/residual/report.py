"""The report: tables for the terminal, and every number in a file."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from residual.methods import Method
from residual.training import Scores
from study import files, gains, words
from study.gains import Gain
from study.tables import new_table
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


def gains_of(outcomes: list[Outcome]) -> list[Gain]:
    """What each method gains over the first one in error, corrected for their number.

    The intervals cover the choice of seeds and of test images.
    """
    return gains.gains({o.method.name: o.test.wrong for o in outcomes})


def scores(outcomes: list[Outcome], *, title: str) -> Table:
    """Test scores of all methods, beside the first one."""
    reference, num_seeds = outcomes[0], len(outcomes[0].test.error)
    num_images = outcomes[0].test.wrong.shape[1]
    caption = (
        f"Means over {num_seeds} seeds ± their standard error over seeds. Gain: error "
        f"of {reference.method.name} less that of the method, in points; its interval "
        f"covers seeds and {num_images} test images, and all hold together (95 %, "
        "Holm). ms: of an epoch, the median."
    )
    headings = ("method", "strength", "error %", "gain", "interval")
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
    headings += ("test\nNLL", "train\nNLL", "ms")
    return new_table(title, headings, caption=caption, columns=columns)


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
    subject = Subject(where=where, baseline=outcomes[0].method.name)
    return words.verdict({o.method.name: o.test.wrong for o in outcomes}, subject)


def tuning(outcomes: list[Outcome], *, title: str) -> Table:
    """Validation scores of all strengths; those of the lowest NLL are starred."""
    caption = (
        "On validation images. *: the lowest negative log-likelihood of the method, "
        "which is less a matter of chance than errors are."
    )
    strengths = []
    for outcome in outcomes:
        rivals = [o for o in outcomes if o.method.name == outcome.method.name]
        best = min(rivals, key=lambda o: o.checks.nll[:, -1].mean())
        star = "*" if outcome is best and len(rivals) > 1 else " "
        strengths.append(_strength(outcome) + star)
    columns = (
        [outcome.method.name for outcome in outcomes],
        strengths,
        words.with_errors([o.checks.error[:, -1] for o in outcomes], scale=100),
        words.with_errors([o.checks.nll[:, -1] for o in outcomes], without=3),
    )
    headings = ("method", "strength", "error %", "NLL")
    return new_table(title, headings, caption=caption, columns=columns)


def _strength(outcome: Outcome) -> str:
    if not outcome.method.candidates:
        return "–"
    return f"{outcome.method.knob} {outcome.strength:g}"


def write(
    folder: Path, outcomes: list[Outcome], *, title: str, recipe: dict[str, Any]
) -> None:
    """Writes every number, in CSV and in JSON."""
    write_csv(folder / "image_regularizers.csv", outcomes)
    path = folder / "image_regularizers.json"
    write_json(path, outcomes, title=title, recipe=recipe)


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
            "test_error": outcome.test.error,
            "test_nll": outcome.test.nll,
            "train_error": outcome.train.error,
            "train_nll": outcome.train.nll,
            "gain": found.get(outcome.method.name),
        }
        for outcome in outcomes
    ]
    num_images = outcomes[0].test.wrong.shape[1]
    about = {"title": title, "recipe": recipe, "test_images": num_images}
    files.write_results(path, about | {"methods": methods})


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, strength and seed."""
    parts = ("validation", "test", "train")
    heads = [f"{part}_{score}" for part in parts for score in ("error", "nll")]
    header = ("method", "strength", "seed", *heads, "epoch_seconds")
    rows = []
    for outcome in outcomes:
        checks = outcome.checks.error[:, -1], outcome.checks.nll[:, -1]
        columns = (*checks, *outcome.test[:2], *outcome.train[:2], outcome.seconds)
        for seed, row in enumerate(zip(*columns, strict=True)):
            rows.append((outcome.method.name, outcome.strength, seed, *row))
    files.write_csv(path, header, rows)
