"""Trying strengths on validation text; the test text is left alone."""

from collections.abc import Callable, Sequence

import numpy as np
from rich.table import Table

from study.tables import new_table
from study.words import with_error
from text.training import Trainer


def best_scores(
    trainer: Trainer,
    strengths: np.ndarray,
    schedule: np.ndarray,
    after_round: Callable[[], object],
) -> np.ndarray:
    """Trains at all strengths in one program: to it a rate is an argument.

    Args:
      trainer: of as many networks for each strength as there are seeds; strengths
        change slowly, seeds fast.
      strengths: ``(strengths,)``: what rates are multiplied by.
      schedule: ``(steps,)``: the share of that at each step.
      after_round: is called after each round, to move a progress bar.

    Returns:
      The best validation score in bits per character, ``(strengths, seeds)``.
    """
    num_seeds = len(trainer.seeds) // len(strengths)
    of_runs = np.repeat(strengths, num_seeds)[:, None] * schedule
    curves = trainer.run(of_runs, after_round)[1]
    return curves.validation.min(1).reshape(len(strengths), num_seeds)


def table(
    results: dict[str, np.ndarray], strengths: Sequence[float], *, title: str, by: str
) -> Table:
    """Validation scores, a row for each method and a column for each strength."""
    headings = (by, *(f"{strength:g}" for strength in strengths))
    report = new_table(f"{title}\nbest validation bits per character", headings)
    for name, best in results.items():
        report.add_row(name, *(with_error(runs, digits=3) for runs in best))
    return report
