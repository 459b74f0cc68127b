"""What is shown and kept of a run: a table, and every score of every split as JSON."""

from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table

from study.tables import new_table
from study.words import standard_error
from uci.training import RegressionRecipe, Scores

_ROWS = ("RMSE, weight scaling", "RMSE, MC dropout", "log-likelihood")
_KEPT = ("weight_scaling", "rmse", "log_likelihood")


def name_of(
    dataset: str, recipe: RegressionRecipe, usual: RegressionRecipe | None
) -> str:
    """The stem of the files of a run: another rate, or a longer run, is said in it.

    Args:
      dataset: the name of the data set.
      recipe: how its networks were trained.
      usual: the settings of this data set, or None if there are none.

    Returns:
      For example ``mc_dropout_uci_yacht_rate_0``.
    """
    parts = ["mc_dropout_uci", dataset]
    if usual is not None and recipe.rate != usual.rate:
        parts.append(f"rate_{recipe.rate:g}")
    if usual is not None and recipe.epochs != usual.epochs:
        parts.append(f"{recipe.epochs}_epochs")
    return "_".join(parts)


def record(
    dataset: str,
    recipe: RegressionRecipe,
    scores: Scores,
    *,
    num_rows: int,
    num_samples: int,
    published: tuple[str, ...],
    seconds: float,
) -> dict[str, Any]:
    """Everything that a table needs, for :func:`study.files.write_results`.

    Args:
      dataset: the name of the data set.
      recipe: how its networks were trained.
      scores: the scores of each split.
      num_rows: how many rows the data set has.
      num_samples: how many samples each prediction is the mean of.
      published: what was published of this recipe: weight scaling, RMSE and
        log-likelihood; empty if nothing was.
      seconds: what training and judging took, with compilation.

    Returns:
      A dict of numbers, strings and arrays.
    """
    values = {name: np.asarray(getattr(scores, name)) for name in _KEPT}
    return {
        "dataset": dataset,
        "rows": num_rows,
        "splits": len(values["rmse"]),
        "recipe": asdict(recipe),
        "samples": num_samples,
        "published": dict(zip(_KEPT, published, strict=False)),
        "scores": values,
        "seconds": round(seconds, 1),
    }


def table(scores: Scores, published: tuple[str, ...], title: str) -> Table:
    """Measured scores beside published ones."""
    caption = "Means over splits, with their standard errors."
    headings = ("", "measured", "published", "median of splits")
    shown = new_table(title, headings, caption=caption)
    for index, (name, values) in enumerate(zip(_ROWS, scores, strict=False)):
        measured = f"{values.mean():.4g} ± {standard_error(values):.2g}"
        other = published[index] if published else "–"
        shown.add_row(name, measured, other, f"{np.median(values):.4g}")
    return shown
