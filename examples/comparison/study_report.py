"""The reports of studies: tables for the terminal, every number in CSV and JSON."""

from pathlib import Path
from typing import Any

from rich.table import Table

from comparison.answers import WEIGHT_SCALING
from comparison.sizes import OfSize
from comparison.studies import Measured
from comparison.verdicts import Outcome
from study import files, gains, words
from study.gains import Gain
from study.tables import new_table

_SPLITS = ("training", "validation", "test")


def show(strength: dict[str, float]) -> str:
    """A strength as it is read: ``rate 0.35, l2 1e-05``."""
    named = (
        f"{name.replace('_', ' ')} {value:.3g}" for name, value in strength.items()
    )
    return ", ".join(named) or "–"


def scores_table(outcomes: list[Outcome], *, title: str, num_samples: int) -> Table:
    """Test scores at the chosen strengths; MC dropout in a row of its own."""
    caption = (
        "Test scores, mean ± standard error over seeds, at the strength with the least "
        f"validation error. MC: the mean of {num_samples} passes with noise. zero: "
        "weights that are exactly 0. s: seconds to train all strengths and seeds."
    )
    rows = [
        (outcome, scores, way == WEIGHT_SCALING)
        for outcome in outcomes
        for way, scores in outcome.scores.items()
    ]
    columns = (
        [outcome.method.name if first else "" for outcome, _, first in rows],
        [show(o.search.chosen) if first else "MC" for o, _, first in rows],
        words.with_errors([scores.error for _, scores, _ in rows], scale=100),
        words.with_errors([scores.nll for _, scores, _ in rows]),
        words.with_errors([scores.ece for _, scores, _ in rows], scale=100),
        [
            f"{100 * o.representation.zeros.mean():.1f}" if first else ""
            for o, _, first in rows
        ],
        [f"{outcome.seconds:.0f}" if first else "" for outcome, _, first in rows],
    )
    headings = ("method", "strength", "error %", "NLL", "ECE %", "zero %", "s")
    return new_table(title, headings, caption=caption, columns=columns)


def gains_over_first(outcomes: list[Outcome]) -> list[Gain]:
    """What each method gains over the first in test error, corrected for their number.

    Test images are resampled with the seeds; the choice of strengths is not.
    """
    return gains.gains(
        {o.method.name: o.scores[WEIGHT_SCALING].wrong for o in outcomes}
    )


def conclusion(outcomes: list[Outcome], *, where: str) -> str:
    """Which method to use, and how sure that is."""
    errors = {o.method.name: o.scores[WEIGHT_SCALING].wrong for o in outcomes}
    subject = words.Subject(where=where, baseline=outcomes[0].method.name)
    return words.verdict(errors, subject)


def representation_table(outcomes: list[Outcome]) -> Table:
    """What the chosen networks look like inside."""
    caption = (
        "Means over hidden layers and seeds, on validation images, without noise. "
        "dead: units that no image activates. off: activations that are 0. activity: "
        "the mean modulus of activations. co-adaptation: the mean modulus of the "
        "correlation of two units. weight: the root mean square of weights."
    )
    inside = [outcome.representation for outcome in outcomes]
    columns = (
        [outcome.method.name for outcome in outcomes],
        words.with_errors([one.dead for one in inside], scale=100),
        words.with_errors([one.sparsity for one in inside], scale=100),
        words.with_errors([one.activity for one in inside]),
        words.with_errors([one.co_adaptation for one in inside]),
        words.with_errors([one.weight for one in inside]),
    )
    headings = ("method", "dead %", "off %", "activity", "co-adaptation", "weight")
    return new_table("Representations", headings, caption=caption, columns=columns)


def rate_table(measured: Measured, *, title: str) -> Table:
    """Errors at each rate, on all splits."""
    caption = "Errors in percent, mean ± standard error over seeds."
    columns = (
        [f"{rate:.2g}" for rate in measured.strengths["rate"]],
        *(words.with_errors(by, scale=100) for by in measured.errors.values()),
        words.with_errors(measured.nlls["test"]),
    )
    headings = ("rate", *_SPLITS, "test NLL")
    return new_table(title, headings, caption=caption, columns=columns)


def size_table(found: list[OfSize], *, title: str) -> Table:
    """Test errors for each number of images, with the gain of dropout."""
    num_seeds, num_images = found[0].none.shape
    caption = (
        f"Test errors in percent, means over {num_seeds} seeds ± standard error over "
        "seeds. Rate: that of hidden units with the least validation error. "
        "Gain, in points: the interval (95 %, each by itself) covers seeds and "
        f"{num_images} test images. Updates: the mean number to the best validation "
        "error, without and with dropout."
    )
    headings = ("images", "none", "rate", "dropout", "gain", "interval", "updates")
    columns = (
        [f"{one.size}" for one in found],
        words.with_errors([one.none.mean(1) for one in found], scale=100),
        [f"{one.chosen:g}" for one in found],
        words.with_errors([one.dropout.mean(1) for one in found], scale=100),
        *zip(*words.intervals([one.gain for one in found], scale=100), strict=True),
        [_updates(one) for one in found],
    )
    return new_table(title, headings, caption=caption, columns=columns)


def _updates(found: OfSize) -> str:
    chosen = found.rates.index(found.chosen)
    means = (found.best_update[row].mean() for row in (0, chosen))
    return " / ".join(f"{mean:.0f}" for mean in means)


def size_records(found: list[OfSize]) -> list[dict[str, Any]]:
    """What is kept of each number of images; for test images their mean only.

    The interval and the p-value of a gain are its own, the verdict is corrected for the
    number of sizes.
    """
    gained = [one.gain for one in found]
    records = []
    for one, gain, tested in zip(found, gained, gains.together(gained), strict=True):
        record = one._asdict()
        for name in ("none", "dropout"):
            record[name] = {"test_error": record[name].mean(1)}
        kept = ("estimate", "low", "high", "p")
        record["gain"] = {name: getattr(gain, name) for name in kept}
        record["relative_gain"] = gain.estimate / one.none.mean()
        records.append({**record, "verdict": tested.verdict})
    return records


def write_sizes(path: Path, found: list[OfSize]) -> None:
    """Writes one row for each size, rate and seed; test errors where they are known."""
    header = ("train_size", "rate", "seed", "validation_error", "best_update")
    rows = []
    for one in found:
        known = {0.0: one.none, one.chosen: one.dropout}
        for row, rate in enumerate(one.rates):
            for seed, error in enumerate(one.validation[row]):
                test = known.get(rate)
                counts = one.best_update[row, seed], one.updates[row, seed]
                shown = "" if test is None else test[seed].mean()
                rows.append((one.size, rate, seed, error, *counts, shown))
    files.write_csv(path, (*header, "updates", "test_error"), rows)


def write_scores(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, way to predict, and seed."""
    inside = ("dead", "sparsity", "activity", "co_adaptation", "weight", "zeros")
    header = ("method", "strength", "prediction", "seed", "error", "nll", "ece")
    rows = [
        (o.method.name, show(o.search.chosen), prediction, seed, *row, o.seconds)
        for o in outcomes
        for prediction, scores in o.scores.items()
        for seed, row in enumerate(zip(*scores[:3], *o.representation, strict=True))
    ]
    files.write_csv(path, (*header, *inside, "train_seconds"), rows)


def write_measured(path: Path, measured: Measured) -> None:
    """Writes one row for each strength and seed, with the errors on all splits."""
    scores = [f"{name}_{score}" for score in ("error", "nll") for name in measured.nlls]
    tables = (*measured.errors.values(), *measured.nlls.values())
    rows = [
        (*strength, seed, *(table[index, seed] for table in tables))
        for index, strength in enumerate(zip(*measured.strengths.values(), strict=True))
        for seed in range(tables[0].shape[1])
    ]
    files.write_csv(path, (*measured.strengths, "seed", *scores), rows)


def write_json(path: Path, about: dict[str, Any], results: Any) -> None:
    """Writes everything, with what it is about."""
    files.write_results(path, {**about, "results": results})


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
