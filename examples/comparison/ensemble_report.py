"""The report on ensembles: a table, a sentence, and every number in CSV and JSON."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from comparison.ensembles import ENSEMBLE, MC_AS_LONG, MEMBERS, Judged, advantage
from jaxdrop import plots
from study import files, gains, words
from study.tables import new_table

_SCORES = ("error", "nll", "ece", "auroc_entropy", "auroc_information")


def scores_of(judged: Judged) -> dict[str, np.ndarray]:
    """The scores of each seed, by name; the last is NaN of one pass."""
    columns = (
        judged.wrong.mean(1),
        judged.nll.mean(1),
        judged.ece,
        judged.by_entropy,
        judged.by_information,
    )
    return dict(zip(_SCORES, columns, strict=True))


def table(found: list[Judged], *, title: str) -> Table:
    """Test scores of all ways to predict."""
    num_seeds = len(found[0].ece)
    caption = (
        f"Means over {num_seeds} networks or ensembles ± their standard error over "
        "these. Training and passes in units of one network. AUROC: the chance that a "
        "strange image has a higher score (H: entropy, I: mutual information)."
    )
    headings = ("training", "passes", "error %", "NLL", "ECE %", "AUROC H", "AUROC I")
    columns = [
        [judged.name for judged in found],
        [f"{judged.trainings}" for judged in found],
        [f"{judged.passes}" for judged in found],
    ]
    for score, scale in zip(_SCORES, (100, 1, 100, 1, 1), strict=True):
        values = [scores_of(judged)[score] for judged in found]
        known = [None if np.isnan(each).any() else each for each in values]
        columns.append(words.with_errors(known, scale=scale))
    return new_table(title, ("", *headings), caption=caption, columns=columns)


def conclusion(found: list[Judged]) -> str:
    """Whether the ensemble is better than Monte-Carlo dropout of the same compute."""
    found_gains = advantage(found)
    if any(gain.verdict == gains.TOO_FEW for gain in found_gains.values()):
        return "No conclusion: at least three seeds are needed."
    parts = []
    tested = gains.together([*found_gains.values()])
    for score, gain in zip(found_gains, tested, strict=True):
        scale, unit = (100, " points") if score in ("error", "ECE") else (1, "")
        ((shown, interval),) = words.intervals([gain], scale=scale)
        parts.append(f"{score} {shown}{unit} ({interval}): {gain.verdict}")
    return (
        f"What an {ENSEMBLE} gains over {MC_AS_LONG}, with 95 % intervals, each by "
        f"itself, and verdicts corrected for {words.count(len(parts), 'score')}: "
        f"{'; '.join(parts)}. AUROC: of the entropy, over seeds alone."
    )


def records(found: list[Judged]) -> list[dict[str, Any]]:
    """What is kept of each way; nothing in the place of NaN."""
    kept = []
    for judged in found:
        scores = scores_of(judged)
        known = {name: s for name, s in scores.items() if not np.isnan(s).any()}
        head = {name: getattr(judged, name) for name in ("name", "trainings", "passes")}
        kept.append({**head, "scores": known})
    return kept


def advantages(found: list[Judged]) -> dict[str, Any]:
    """The gains of :func:`comparison.ensembles.advantage` as they are kept."""
    return {score: gain._asdict() for score, gain in advantage(found).items()}


def write_csv(path: Path, found: list[Judged]) -> None:
    """Writes one row for each way and seed."""
    rows = [
        (judged.name, judged.trainings, judged.passes, seed, *row)
        for judged in found
        for seed, row in enumerate(zip(*scores_of(judged).values(), strict=True))
    ]
    files.write_csv(path, ("way", "trainings", "passes", "seed", *_SCORES), rows)


def figure(found: list[Judged], *, title: str) -> Figure:
    """NLL, calibration error and AUROC of all ways, with their standard errors."""
    drawn = plots.new_figure(2, height=0.3 * len(found) + 1.6)
    panels = drawn.subplots(1, 3, sharey=True)
    labels = ("NLL, nats", "calibration error, %", "AUROC (entropy)")
    names = [judged.name for judged in found]
    of_five = np.array([judged.trainings == MEMBERS for judged in found])
    rows = {"training of one network": ~of_five, f"of {MEMBERS} networks": of_five}
    scores = ("nll", "ece", "auroc_entropy")
    for axes, score, label in zip(panels, scores, labels, strict=True):
        scale = 100 if score == "ece" else 1
        values = [scale * scores_of(judged)[score] for judged in found]
        means = np.array([each.mean() for each in values])
        errors = np.array([words.standard_error(each) for each in values])
        ends = np.stack([means, means - errors, means + errors])
        series = {name: np.where(shown, ends, np.nan) for name, shown in rows.items()}
        plots.forest(
            *(names, series),
            xlabel=label,
            zero=None,
            interval="± standard error over networks or ensembles",
            ax=axes,
        )
        handles, names_shown = axes.get_legend_handles_labels()
        axes.get_legend().remove()
        axes.tick_params(labelsize=8)
        axes.locator_params(axis="x", nbins=4)
    drawn.legend(
        handles,
        names_shown,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize="small",
    )
    drawn.suptitle(title, fontsize=10)
    return drawn
