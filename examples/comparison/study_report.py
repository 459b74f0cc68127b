"""The reports of studies: tables for the terminal, every number in CSV and JSON."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from comparison.report import Outcome, with_error
from comparison.studies import Measured
from comparison.training import TRAIN_SIZE
from data import replacing


def show(strength: dict[str, float]) -> str:
    """A strength as it is read: ``rate 0.35, l2 1e-05``."""
    named = (
        f"{name.replace('_', ' ')} {value:.3g}" for name, value in strength.items()
    )
    return ", ".join(named) or "–"


def _table(title: str, caption: str, *columns: str) -> Table:
    table = Table(
        title=title,
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        wraps = column == "strength"
        table.add_column(
            column, justify="right" if number else "left", no_wrap=not wraps
        )
    return table


def scores_table(outcomes: list[Outcome], *, title: str, num_samples: int) -> Table:
    """Test scores at the chosen strengths; MC dropout in a row of its own."""
    caption = (
        "Test scores, mean ± standard error over seeds, at the strength with the least "
        f"validation error. MC: the mean of {num_samples} passes with noise. zero: "
        "weights that are exactly 0. s: seconds to train all strengths and seeds."
    )
    columns = ("strength", "error %", "NLL", "ECE %", "zero %", "s")
    table = _table(title, caption, "method", *columns)
    for outcome in outcomes:
        search = outcome.search
        heads = [outcome.method.name, show(search.chosen)]
        tails = [
            f"{100 * outcome.representation.zeros.mean():.1f}",
            f"{outcome.seconds:.0f}",
        ]
        for scores in outcome.scores.values():
            table.add_row(
                *heads,
                with_error(scores.error, percent=True),
                with_error(scores.nll, digits=3),
                with_error(scores.ece, percent=True, digits=1),
                *tails,
            )
            heads, tails = ["", "MC"], ["", ""]
    return table


def representation_table(outcomes: list[Outcome]) -> Table:
    """What the chosen networks look like inside."""
    caption = (
        "Means over hidden layers and seeds, on validation images, without noise. "
        "dead: units that no image activates. off: activations that are 0. activity: "
        "the mean modulus of activations. co-adaptation: the mean modulus of the "
        "correlation of two units. weight: the root mean square of weights."
    )
    columns = ("dead %", "off %", "activity", "co-adaptation", "weight")
    table = _table("Representations", caption, "method", *columns)
    for outcome in outcomes:
        inside = outcome.representation
        table.add_row(
            outcome.method.name,
            with_error(inside.dead, percent=True, digits=1),
            with_error(inside.sparsity, percent=True, digits=1),
            with_error(inside.activity, digits=3),
            with_error(inside.co_adaptation, digits=3),
            with_error(inside.weight, digits=4),
        )
    return table


def rate_table(measured: Measured, *, title: str) -> Table:
    """Errors at each rate, on all splits."""
    caption = "Errors in percent, mean ± standard error over seeds."
    table = _table(title, caption, "rate", "training", "validation", "test", "test NLL")
    for index, rate in enumerate(measured.strengths["rate"]):
        errors = (
            with_error(values[index], percent=True)
            for values in measured.errors.values()
        )
        nll = with_error(measured.nlls["test"][index], digits=3)
        table.add_row(f"{rate:.2g}", *errors, nll)
    return table


def size_table(measured: Measured, *, title: str) -> Table:
    """Test errors for each number of images, with the gain of the same seeds."""
    caption = (
        "Test errors in percent, mean ± standard error over seeds; the gain is that of "
        "each seed, in points and in percent of the error without dropout."
    )
    columns = ("images", "none", "dropout", "gain", "relative gain")
    table = _table(title, caption, *columns)
    for size, without, dropout in gains(measured):
        gain = without - dropout
        cells = (without, dropout, gain, gain / without)
        table.add_row(f"{size:g}", *(with_error(cell, percent=True) for cell in cells))
    return table


def gains(measured: Measured) -> Iterable[tuple[float, np.ndarray, np.ndarray]]:
    """For each number of images the test errors without dropout and with it."""
    sizes, rates = measured.strengths[TRAIN_SIZE], measured.strengths["rate"]
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        without, dropout = sorted(rows, key=lambda row: rates[row])
        errors = measured.errors["test"]
        yield float(size), errors[without], errors[dropout]


def write_scores(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, way to predict, and seed."""
    inside = ("dead", "sparsity", "activity", "co_adaptation", "weight", "zeros")
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        columns = ("method", "strength", "prediction", "seed", "error", "nll", "ece")
        writer.writerow([*columns, *inside, "train_seconds"])
        for outcome in outcomes:
            for prediction, scores in outcome.scores.items():
                columns = (*scores[:3], *outcome.representation)
                for seed, row in enumerate(zip(*columns, strict=True)):
                    numbers = [f"{number:.6g}" for number in (*row, outcome.seconds)]
                    strength = show(outcome.search.chosen)
                    head = [outcome.method.name, strength, prediction, seed]
                    writer.writerow([*head, *numbers])


def write_measured(path: Path, measured: Measured) -> None:
    """Writes one row for each strength and seed, with the errors on all splits."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        splits = list(measured.errors)
        scores = [f"{split}_{score}" for score in ("error", "nll") for split in splits]
        writer.writerow([*measured.strengths, "seed", *scores])
        for index, strength in enumerate(
            zip(*measured.strengths.values(), strict=True)
        ):
            of_strength = [
                values[index]
                for by_split in (measured.errors, measured.nlls)
                for values in by_split.values()
            ]
            for seed, row in enumerate(zip(*of_strength, strict=True)):
                numbers = [f"{number:.6g}" for number in row]
                writer.writerow([*(f"{s:.6g}" for s in strength), seed, *numbers])


def write_json(path: Path, about: dict[str, Any], results: Any) -> None:
    """Writes everything, with what it is about."""
    content = {**about, "results": _plain(results)}
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def as_record(outcome: Outcome) -> dict[str, Any]:
    """What is kept of an outcome: all numbers but its curves' and its bins'."""
    return {
        "method": outcome.method.name,
        "strengths": outcome.search.strengths,
        "validation_error": outcome.search.error,
        "validation_nll": outcome.search.nll,
        "chosen": outcome.search.chosen,
        "test": {
            prediction: {"error": scores.error, "nll": scores.nll, "ece": scores.ece}
            for prediction, scores in outcome.scores.items()
        },
        "representation": outcome.representation._asdict(),
        "train_seconds": outcome.seconds,
        "compile_seconds": outcome.compile_seconds,
    }


def _plain(value: Any) -> Any:
    """The same of lists, dicts and numbers of Python, rounded to six digits."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return float(f"{value:.6g}") if isinstance(value, float) else value
