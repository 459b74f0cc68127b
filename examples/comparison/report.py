"""The report of the comparison: tables, a sentence, every number, figures."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from comparison import figures, verdicts
from comparison.answers import MC_DROPOUT, WEIGHT_SCALING
from comparison.arguments import STRANGE, Setting, title_of
from comparison.verdicts import LEVEL, SCORES, Outcome, Row, Verdicts
from data import Images
from study import files, gains, words
from study.gains import Gain
from study.tables import new_table, show

_EDGE = "*"
_SHORT = {gains.NOT_DISTINGUISHABLE: "tie", gains.TOO_FEW: "–"}
_FIELDS = ("error", "nll", "ece", "by_entropy", "by_information", "covered")


def present(
    args: argparse.Namespace,
    setting: Setting,
    images: Images,
    outcomes: Sequence[Outcome],
    judged: Verdicts,
    *,
    strange: str,
) -> None:
    """Prints the tables and the conclusion, and writes every number and three figures.

    Args:
      args: the command line: the data set, and where files are written.
      setting: what was trained.
      images: the data.
      outcomes: of all methods.
      judged: their gains.
      strange: the kind of the images of no class, a name in ``arguments.STRANGE``.
    """
    output, title = args.output, title_of(args, setting, images)
    ordered = verdicts.ranked(outcomes, judged)
    rows = verdicts.panel(outcomes, images.test.y)
    where = f"On {args.dataset} with {len(images.train.y)} images"
    found = verdicts.conclusion(judged, where)
    about = {
        "title": title,
        "conclusion": found,
        "seeds": setting.num_seeds,
        "search_seeds": setting.search_seeds,
        "samples": setting.num_samples,
        "test_images": len(images.test.y),
        "strange_images": STRANGE[strange],
        "recipe": asdict(setting.recipe),
    }
    show(
        error_table(
            ordered, judged, title=title, searched=setting.search_seeds is not None
        ),
        price_table(ordered, judged) if len(outcomes) > 1 else "",
        panel_table(rows, strange=STRANGE[strange], num_samples=setting.num_samples),
        found,
    )
    write_csv(output / "results.csv", outcomes)
    write_json(output / "gains.json", ordered, judged, rows, about=about)
    for name, figure in (
        ("gains", figures.gains(ordered, judged, title=title)),
        ("learning_curves", figures.learning_curves(outcomes, title=title)),
        ("reliability_diagrams", figures.reliability_diagrams(outcomes, title=title)),
    ):
        files.save(figure, output / f"{name}.png")
    print(f"Wrote results.csv, gains.json and three figures to {output}.")


def error_table(
    outcomes: Sequence[Outcome], verdicts: Verdicts, *, title: str, searched: bool
) -> Table:
    """Test errors and what each method gains, in the order of ``outcomes``."""
    baseline = verdicts.baseline
    found = verdicts.gains[WEIGHT_SCALING]["error"]
    caption = (
        f"Means over {_seeds(outcomes)} seeds, by one pass without noise. Gain: the "
        f"error of {baseline} less that of the method, in points, with its "
        f"{100 * LEVEL:g} % interval over seeds and test images, corrected for "
        f"{words.count(len(found), 'comparison')}. tie: not distinguishable from "
        f"{baseline}. s: seconds to train all seeds. "
    )
    if searched:
        caption += (
            f"Strengths have the least validation error; {_EDGE} at the end of what "
            "was tried."
        )
    headings = ("method", "strength", "error\n%", "gain", "interval", "verdict", "s")
    table = new_table(title, headings, caption=caption, narrow=True)
    gained = dict(zip([g.name for g in found], _cells(found, 100.0), strict=True))
    errors = [100 * o.scores[WEIGHT_SCALING].error for o in outcomes]
    places = words.decimals([words.standard_error(error) for error in errors])
    for outcome, error in zip(outcomes, errors, strict=True):
        name = outcome.method.name
        table.add_row(
            name,
            strength(outcome),
            words.number(error.mean(), min(places, 2)),
            *gained.get(name, ("", "", "–")),
            f"{outcome.seconds:.0f}",
        )
    return table


def price_table(outcomes: Sequence[Outcome], verdicts: Verdicts) -> Table:
    """What each method gains in likelihood and in calibration."""
    caption = (
        f"As above: the score of {verdicts.baseline} less that of the method. NLL: "
        "negative log-likelihood, in nats. ECE: expected calibration error, in points."
    )
    headings = ["method"]
    columns = []
    for score in ("NLL", "ECE"):
        headings += [f"{score}\ngain", "interval", ""]
        found = verdicts.gains[WEIGHT_SCALING][score]
        cells = _cells(found, SCORES[score][1])
        columns.append(dict(zip([g.name for g in found], cells, strict=True)))
    title = "Likelihood and calibration"
    table = new_table(title, headings, caption=caption, narrow=True)
    for outcome in outcomes:
        name = outcome.method.name
        if name != verdicts.baseline:
            table.add_row(name, *columns[0][name], *columns[1][name])
    return table


def panel_table(rows: Sequence[Row], *, strange: str, num_samples: int) -> Table:
    """What predictions know, by one pass, by samples and by ensembles."""
    caption = (
        f"Means over seeds ± half of the {100 * LEVEL:g} % interval over seeds. one: "
        f"one pass without noise; MC: the mean of {num_samples} passes with noise. "
        "AUROC: the chance that the entropy (H) or the mutual information (I) of "
        f"{strange} is larger than that of a test image. at 90 %: the accuracy on the "
        "90 % with the largest confidence."
    )
    ensemble = next((row for row in rows if row.trainings > 1), None)
    if ensemble is not None:
        trainings = words.count(ensemble.trainings, "training")
        number = words.count(len(ensemble.error), "ensemble")
        caption += f" An ensemble takes {trainings}; its row is of {number}."
    headings = ("error\n%", "NLL", "ECE\n%", "AUROC\nH %", "AUROC\nI %", "at 90 %")
    columns = []
    for name in _FIELDS:
        samples = [getattr(row, name) for row in rows]
        known = [None if np.isnan(values).all() else values for values in samples]
        scale = 1 if name == "nll" else 100
        if name in ("error", "nll", "ece"):  # their errors are those of the gains
            errors = [scale * words.standard_error(values) for values in samples]
            places = words.decimals(errors, largest=3 if scale == 1 else 2)
            columns.append([words.number(scale * v.mean(), places) for v in samples])
        else:
            largest = 2 if name == "covered" else 1
            shown = words.with_errors(known, scale=scale, level=LEVEL, largest=largest)
            columns.append(shown)
    table = new_table(
        "Uncertainty", ("method", "by", *headings), caption=caption, narrow=True
    )
    last = None
    for row, *cells in zip(rows, *columns, strict=True):
        name = "" if row.method == last else row.method
        table.add_row(name, short(row), *cells)
        last = row.method
    return table


def short(row: Row) -> str:
    """The way to predict, as a column has room for it."""
    return {WEIGHT_SCALING: "one", MC_DROPOUT: "MC"}.get(row.way, row.way)


def strength(outcome: Outcome) -> str:
    """The strength that was chosen, with a mark at the end of what was tried."""
    if outcome.search is None:
        return "–" if not outcome.method.grid else "usual"
    ends = outcome.search.at_edge()
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.3g}{_EDGE if name in ends else ''}"
        for name, value in outcome.search.chosen.items()
    )


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


def write_json(
    path: Path,
    outcomes: Sequence[Outcome],
    verdicts: Verdicts,
    rows: Sequence[Row],
    *,
    about: dict[str, Any],
) -> None:
    """Writes everything that the tables and the figure show, and the searches."""
    content = {
        **about,
        "baseline": verdicts.baseline,
        "level": LEVEL,
        "units": {score: unit for score, (unit, _) in SCORES.items()},
        "not_distinguishable_from_the_best": list(verdicts.best),
        "methods": [_method(outcome, verdicts) for outcome in outcomes],
        "uncertainty": [_uncertainty(row) for row in rows],
    }
    files.write_results(path, content)


def _method(outcome: Outcome, verdicts: Verdicts) -> dict[str, Any]:
    name = outcome.method.name
    record = {
        "name": name,
        "strength": outcome.search.chosen if outcome.search else None,
        "at_edge": outcome.search.at_edge() if outcome.search else [],
        "seconds": outcome.seconds,
        "search_seconds": outcome.search.seconds if outcome.search else 0.0,
    }
    for way, scores in outcome.scores.items():
        values = {"error": 100 * scores.error, "NLL": scores.nll}
        values["ECE"] = 100 * scores.ece
        record[way] = {
            score: {"mean": values[score].mean(), "seeds": values[score]}
            | _gain(verdicts.gains[way][score], name, SCORES[score][1])
            for score in SCORES
        }
    if outcome.search:
        record["search"] = {
            "strengths": outcome.search.strengths,
            "validation_error": 100 * outcome.search.error,
            "validation_nll": outcome.search.nll,
        }
    return record


def _gain(found: Sequence[Gain], name: str, scale: float) -> dict[str, Any]:
    """The gain of a method; nothing of the baseline."""
    gain = next((gain for gain in found if gain.name == name), None)
    if gain is None:
        return {}
    return {
        "gain": scale * gain.estimate,
        "low": scale * gain.low,
        "high": scale * gain.high,
        "p": gain.p,
        "verdict": gain.verdict,
    }


def _uncertainty(row: Row) -> dict[str, Any]:
    record = row._asdict()
    for name in _FIELDS:
        values = record[name]
        record[name] = {
            "mean": values.mean(),
            "interval": words.interval(values, LEVEL),
            "seeds": values,
        }
    return record


def _cells(found: Sequence[Gain], scale: float) -> list[tuple[str, str, str]]:
    shown = words.intervals(found, scale=scale)
    verdicts = [_SHORT.get(gain.verdict, gain.verdict) for gain in found]
    return [(*cells, verdict) for cells, verdict in zip(shown, verdicts, strict=True)]


def _seeds(outcomes: Sequence[Outcome]) -> int:
    return len(outcomes[0].scores[WEIGHT_SCALING].error)
