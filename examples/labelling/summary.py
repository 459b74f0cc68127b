"""The summary: how many labels each strategy needs to be as good as random ones."""

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from labelling.rounds import Protocol, Run
from study import words
from study.tables import new_table


class Needed(NamedTuple):
    """The labels that a strategy needs.

    Attributes:
      labels: from so many on, the mean accuracy is never below the target; NaN if it
        is below in the end.
      stderr: of ``labels``, from resampled seeds; NaN if a resample is below in the
        end, or there is one seed.
    """

    labels: float
    stderr: float


def accuracies(runs: list[Run]) -> np.ndarray:
    """``(seeds, rounds)``, of one strategy."""
    return np.stack([run.accuracy for run in runs])


def stays_from(counts: np.ndarray, curve: np.ndarray, target: float) -> float:
    """From how many labels on a curve is never below the target again.

    Between the last round below it and the next one, the curve is a straight line.
    Where it first reaches the target would flatter strategies: a lucky round is enough.

    Args:
      counts: ``(rounds,)``: the number of labels in each round.
      curve: ``(rounds,)``: accuracies.
      target: an accuracy.

    Returns:
      The number of labels; NaN if the last round is below the target.
    """
    (below,) = np.nonzero(curve < target)
    if not len(below):
        return float(counts[0])
    last = below[-1]
    if last == len(curve) - 1:
        return float("nan")
    share = (target - curve[last]) / (curve[last + 1] - curve[last])
    return float(counts[last] + share * (counts[last + 1] - counts[last]))


def labels_needed(
    counts: np.ndarray,
    strategy: np.ndarray,
    reference: np.ndarray,
    *,
    resamples: int = 1000,
) -> Needed:
    """How many labels a strategy needs to reach the final accuracy of another.

    Args:
      counts: ``(rounds,)``: the number of labels in each round.
      strategy: ``(seeds, rounds)``: its accuracies.
      reference: ``(seeds, rounds)``: those of the other, from the same seeds.
      resamples: how often seeds are drawn again, for the standard error.

    Returns:
      The number, by mean accuracies, and its bootstrap standard error; seeds are drawn
      for both strategies together, as they share first labels and weights.
    """

    def needed(seeds: np.ndarray) -> float:
        target = reference[seeds, -1].mean()
        return stays_from(counts, strategy[seeds].mean(0), target)

    number = len(strategy)
    draws = np.random.default_rng(0).integers(number, size=(resamples, number))
    spread = np.std([needed(seeds) for seeds in draws]) if number > 1 else np.nan
    return Needed(needed(np.arange(number)), float(spread))


def table(
    counts: np.ndarray, runs: dict[str, list[Run]], reference: str, *, title: str
) -> Table:
    """Accuracies on the way, and the labels needed to be as good as the reference."""
    shown = np.unique(np.linspace(0, len(counts) - 1, 4).round().astype(int))
    num_seeds = len(runs[reference])
    caption = (
        f"Accuracies: means over {num_seeds} seeds with their standard error. Needed: "
        "from this number of labels on, the mean accuracy is never below the final one "
        f"of {reference}; its standard error is from resampled seeds."
    )
    curves = {name: accuracies(of_strategy) for name, of_strategy in runs.items()}
    needed = [
        _labels(labels_needed(counts, curve, curves[reference]), counts[-1])
        if name != reference
        else f"{counts[-1]}"
        for name, curve in curves.items()
    ]
    rights = [
        words.with_errors(
            [curve[:, r] for curve in curves.values()], scale=100, largest=1
        )
        for r in shown
    ]
    headings = [f"% right,\n{counts[round_]} labels" for round_ in shown]
    return new_table(
        title,
        ("strategy", *headings, "labels\nneeded"),
        caption=caption,
        columns=(list(runs), *rights, needed),
    )


def record(
    protocol: Protocol, runs: dict[str, list[Run]], reference: str
) -> dict[str, Any]:
    """Everything that a table needs, for :func:`study.files.write_results`."""
    counts, final = protocol.counts, accuracies(runs[reference])
    strategies = [
        {"name": name, "accuracy": curve}
        | labels_needed(counts, curve, final)._asdict()
        for name, curve in ((name, accuracies(runs[name])) for name in runs)
    ]
    return {
        "protocol": asdict(protocol),
        "reference": reference,
        "labels": counts,
        "strategies": strategies,
    }


def headline(counts: np.ndarray, runs: dict[str, list[Run]], reference: str) -> str:
    """One sentence for each other strategy."""
    final = accuracies(runs[reference])
    sentences = []
    for name, of_strategy in runs.items():
        if name == reference:
            continue
        needed = labels_needed(counts, accuracies(of_strategy), final)
        if np.isnan(needed.labels):
            sentences.append(f"{name} does not reach {reference}'s final accuracy.")
            continue
        share, error = (100 * part / counts[-1] for part in needed)
        noise = "" if np.isnan(error) else f" ± {error:.0f}"
        sentences.append(
            f"{name} reaches {reference}'s final accuracy with {share:.0f}{noise} % of "
            "the labels."
        )
    return "\n".join(sentences)


def verdict(runs: dict[str, list[Run]], reference: str) -> str:
    """Which strategy is better than the reference, over all rounds together.

    Paired over seeds and corrected for the number of strategies; test images are not
    resampled.
    """
    errors = {name: 1 - accuracies(found).mean(1) for name, found in runs.items()}
    subject = words.Subject(
        where="Over all rounds", baseline=reference, flag="--strategies"
    )
    return words.verdict(errors, subject)


def _labels(needed: Needed, budget: int) -> str:
    if np.isnan(needed.labels):
        return f"> {budget}"
    noise = "" if np.isnan(needed.stderr) else f"±{needed.stderr:.0f}"
    return f"{needed.labels:.0f}{noise}"
