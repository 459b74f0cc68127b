"""The reports of studies: tables for the terminal, every number in CSV and JSON."""

import csv
import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from comparison.report import WEIGHT_SCALING, Outcome, with_error
from comparison.sizes import OfSize
from comparison.studies import Measured
from data import replacing
from study import gains, words
from study.gains import Gain


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


def gains_over_first(outcomes: list[Outcome]) -> list[Gain]:
    """What each method gains over the first in test error, corrected for their number.

    Test images are resampled with the seeds; the choice of strengths is not.
    """
    return gains.gains(
        {o.method.name: o.scores[WEIGHT_SCALING].wrong for o in outcomes}
    )


def conclusion(outcomes: list[Outcome], *, where: str) -> str:
    """Which method to use, and how sure that is."""
    if len(outcomes) == 1:
        return "There is nothing to compare: name another method with --methods."
    errors = {o.method.name: o.scores[WEIGHT_SCALING].wrong for o in outcomes}
    subject = words.Subject(where=where, baseline=outcomes[0].method.name)
    found = gains_over_first(outcomes)
    return words.conclusion(found, subject, best=gains.ties(errors))


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


def size_table(found: list[OfSize], *, title: str) -> Table:
    """Test errors for each number of images, with the gain of dropout."""
    num_seeds, num_images = found[0].none.shape
    caption = (
        f"Test errors in percent, means over {num_seeds} seeds ± standard error over "
        "seeds. Rate: that of hidden units with the least validation error. "
        f"Gain, in points: the interval (95 %) covers seeds and {num_images} test "
        "images. Updates: the mean number to the best validation error, without and "
        "with dropout."
    )
    columns = ("images", "none", "rate", "dropout", "gain", "interval", "updates")
    table = _table(title, caption, *columns)
    cells = (
        [f"{one.size}" for one in found],
        words.with_errors([one.none.mean(1) for one in found], scale=100),
        [f"{one.chosen:g}" for one in found],
        words.with_errors([one.dropout.mean(1) for one in found], scale=100),
        *zip(*words.intervals([one.gain for one in found], scale=100), strict=True),
        [_updates(one) for one in found],
    )
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def _updates(found: OfSize) -> str:
    chosen = found.rates.index(found.chosen)
    means = (found.best_update[row].mean() for row in (0, chosen))
    return " / ".join(f"{mean:.0f}" for mean in means)


def size_record(found: OfSize) -> dict[str, Any]:
    """What is kept of a number of images; for test images their mean only."""
    record = found._asdict()
    for name in ("none", "dropout"):
        record[name] = {"test_error": record[name].mean(1)}
    gain = found.gain
    record["gain"] = {name: getattr(gain, name) for name in ("estimate", "low", "high")}
    record["relative_gain"] = gain.estimate / found.none.mean()
    record["verdict"] = gain.verdict
    return record


def write_sizes(path: Path, found: list[OfSize]) -> None:
    """Writes one row for each size, rate and seed; test errors where they are known."""
    columns = ("train_size", "rate", "seed", "validation_error", "best_update")
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "updates", "test_error"])
        for one in found:
            known = {0.0: one.none, one.chosen: one.dropout}
            for row, rate in enumerate(one.rates):
                for seed, error in enumerate(one.validation[row]):
                    test = known.get(rate)
                    shown = "" if test is None else f"{test[seed].mean():.6g}"
                    head = [one.size, f"{rate:g}", seed, f"{error:.6g}"]
                    counts = one.best_update[row, seed], one.updates[row, seed]
                    writer.writerow([*head, *counts, shown])


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
