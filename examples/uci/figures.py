"""The figure: scores beside published ones, and how well intervals hold targets."""

import math
import re
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxdrop import plots
from jaxdrop.metrics import interval_coverage
from study import words
from uci.splits import Splits
from uci.training import Scores

_LEVELS = np.linspace(0.05, 0.95, 19)
_MOST_ROWS = 200  # in the panel of predictions, where more would cover each other
_PUBLISHED, _MEASURED, _SCALED = "published", "MC dropout", "weight scaling"
_STYLES = plots.styles([_MEASURED, _PUBLISHED, _SCALED])


class Published(NamedTuple):
    """A published score.

    Attributes:
      mean: over splits.
      error: its standard error; NaN if it was not published.
      rounding: the standard deviation of what rounding took away.
    """

    mean: float
    error: float
    rounding: float

    @staticmethod
    def of(text: str) -> "Published | None":
        """Reads ``"2.97 ± 0.19"``; None if there is no number."""
        numbers = re.findall(r"-?\d+\.?\d*", text)
        if not numbers:
            return None
        decimals = len(numbers[0].partition(".")[2])
        error = float(numbers[1]) if len(numbers) > 1 else math.nan
        return Published(float(numbers[0]), error, 10.0**-decimals / math.sqrt(12))


def draw(
    scores: Scores, splits: Splits, published: tuple[str, ...], title: str
) -> Figure:
    """The scores of each split, predictions beside targets, and the coverage.

    Args:
      scores: of all splits.
      splits: the data.
      published: the texts of weight scaling, RMSE and log-likelihood, or none.
      title: what stands above.

    Returns:
      The figure.
    """
    figure = plots.new_figure(2, height=6.4)
    (of_rmse, of_likelihood), (of_rows, of_levels) = figure.subplots(2, 2)
    texts = published or ("–",) * 3
    _scores(of_rmse, "RMSE", scores.rmse, texts[1], scaled=scores.weight_scaling)
    _scores(of_likelihood, "log-likelihood", scores.log_likelihood, texts[2])
    there = splits.test_weight > 0
    rows = [np.asarray(a)[there] for a in (splits.test_y, scores.mean, scores.std)]
    _predictions(of_rows, *rows)
    _coverage(of_levels, *rows)
    figure.suptitle(title, fontsize=11)
    return figure


def difference(values: np.ndarray, published: Published) -> float:
    """The mean minus the published one, in standard errors of the difference.

    These hold the errors of both means, and what the rounding of the published one may
    have taken away.
    """
    own = words.standard_error(values)
    total = math.hypot(own, published.error, published.rounding)
    return float((values.mean() - published.mean) / total)


def _scores(
    axes: Axes,
    name: str,
    values: np.ndarray,
    text: str,
    *,
    scaled: np.ndarray | None = None,
) -> None:
    """A score of each split; lines and bands are means and their standard errors."""
    error = float(np.nan_to_num(words.standard_error(values)))
    shown = Published.of(text)
    title = name
    if scaled is not None:
        _points(axes, scaled, _SCALED, fillstyle="none", markersize=8)
    _points(axes, values, _MEASURED, markersize=4)
    _level(axes, values.mean(), error, _MEASURED)
    if shown is not None:
        _level(axes, shown.mean, shown.error, _PUBLISHED)
        if len(values) > 1 and math.isfinite(shown.error):
            away = difference(values, shown)
            title += f": {away:+.1f} standard errors\nfrom the published mean"
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="split", ylabel=name)
    plots.add_legend(axes)


def _points(axes: Axes, values: np.ndarray, name: str, **marks: object) -> None:
    style = _STYLES[name] | {"linestyle": "none"} | marks
    axes.plot(np.arange(len(values)), values, label=name, **style)


def _level(axes: Axes, mean: float, error: float, name: str) -> None:
    color, line = _STYLES[name]["color"], _STYLES[name]["linestyle"]
    label = f"{name}, mean"
    if math.isfinite(error):
        label += " ± standard error"
        band = {"color": color, "alpha": 0.2, "linewidth": 0}
        axes.axhspan(mean - error, mean + error, **band)
    axes.axhline(mean, color=color, linestyle=line, linewidth=1.2, label=label)


def _predictions(
    axes: Axes, truth: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> None:
    """Some rows, evenly spread over the targets."""
    order = np.argsort(truth, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _MOST_ROWS).astype(int))]
    ends = [truth.min(), truth.max()]
    axes.plot(ends, ends, color="0.4", lw=1, label="mean = observed")
    axes.errorbar(
        *(truth[chosen], mean[chosen], 2 * std[chosen]),
        fmt=".",
        ms=3,
        lw=0.5,
        color=_STYLES[_MEASURED]["color"],
        ecolor="0.7",
        label="mean ± 2 standard deviations",
    )
    some = "" if len(chosen) == len(truth) else f" ({len(chosen)} of {len(truth)})"
    axes.set_title(f"test rows of all splits{some}", fontsize=9)
    axes.set(xlabel="observed", ylabel="predicted")
    plots.add_legend(axes)


def _coverage(axes: Axes, truth: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """The share of targets in intervals of a normal distribution, by their level."""
    held = [_share(level, truth, mean, std) for level in _LEVELS]
    axes.plot([0, 1], [0, 1], color="0.4", lw=1, label="calibrated")
    style = _STYLES[_MEASURED] | {"markersize": 3.5}
    axes.plot(_LEVELS, held, label="normal intervals", **style)
    held_95 = 100 * _share(0.95, truth, mean, std)
    axes.set_title(
        f"95 % intervals hold {held_95:.1f} %\nof {len(truth)} targets", fontsize=9
    )
    axes.set(xlabel="level of the interval", ylabel="share of targets inside")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    plots.add_legend(axes)


def _share(level: float, truth: np.ndarray, mean: np.ndarray, std: np.ndarray) -> float:
    reach = float(norm.ppf(jnp.float32(0.5 + level / 2))) * std
    return float(interval_coverage(mean - reach, mean + reach, truth))
