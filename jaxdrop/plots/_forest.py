"""A plot of estimates with their intervals, a row for each name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdrop._errors import named
from jaxdrop._typing import ArrayLike
from jaxdrop.plots._canvas import (
    add_legend,
    drawable,
    finite,
    given_or_new,
    label_of,
    set_ticks,
)
from jaxdrop.plots._styles import BASELINE, GREY, as_list, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _FRAME = 0.3, 1.3  # inches
_DASHES: dict[str, Any] = {  # shorter than usual, as intervals may be short
    "-": "-",
    "-.": (0, (3, 0.8, 0.8, 0.8)),
    ":": (0, (0.8, 0.8)),
    "--": (0, (1.8, 0.9)),
}
_SPREAD = 0.7  # the share of a row that its marks are spread over


@named
def forest(
    names: Sequence[str],
    series: Mapping[str, tuple[ArrayLike | Sequence[float], ...]],
    /,
    *,
    xlabel: str = "estimate",
    zero: float | None = 0.0,
    interval: str = "95 % interval",
    ax: Axes | None = None,
) -> Figure:
    """Estimates with their intervals, a row for each name: a forest plot.

    Args:
      names: the names of the rows, from the top.
      series: for each label the estimates and the lower and upper ends of their
        intervals, each ``(rows,)``. An estimate that is NaN is left out, and of an
        interval with an end that is NaN only the estimate is drawn.
      xlabel: the name of the estimates, with their unit.
      zero: where a vertical line says "no difference"; no line if None.
      interval: the meaning of the bars, which the legend repeats.
      ax: where to draw; a new figure if None.

    Returns:
      The figure. Series differ in colour, mark and line style; a row called ``none``
      has a grey name.

    Raises:
      ValueError: if there are no names or no series, shapes do not fit, or the lower
        end of an interval is above the upper one.

    Examples:
      >>> from jaxdrop import plots
      >>> gains = {
      ...     "weight scaling": ([-0.5, 0.1], [-0.9, -0.2], [-0.1, 0.4]),
      ...     "MC dropout": ([-0.4, float("nan")],) * 3,
      ... }
      >>> figure = plots.forest(["dropout", "L2"], gains, xlabel="error, points")
      >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
      ['dropout', 'L2']
      >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
      ['weight scaling', 'MC dropout', 'bar: 95 % interval']
    """
    rows = as_list(names) or []
    if isinstance(names, str) or not rows:
        raise ValueError(f"names must hold the name of each row, got {names!r}.")
    if not isinstance(series, Mapping) or not series:
        raise ValueError(
            "series must hold at least one series, {label: (estimate, low, high)}, got "
            f"{series!r}."
        )
    found = {
        label: _checked(label, parts, len(rows)) for label, parts in series.items()
    }
    ax = given_or_new(ax, 5.0, _FRAME + _ROW * len(rows))
    places = np.arange(len(rows))
    shifts = (np.arange(len(found)) + 0.5) / len(found) - 0.5
    for (label, values), shift in zip(found.items(), _SPREAD * shifts, strict=True):
        _draw(ax, label, values, places + shift, styles(list(found))[label])
    if any(np.isfinite(values).all(0).any() for values in found.values()):
        ax.errorbar([], [], xerr=[], fmt="none", ecolor=GREY, label=f"bar: {interval}")
    if zero is not None:
        ax.axvline(finite(zero, name="zero"), color=GREY, linewidth=1, zorder=0)
    ax.set_yticks(places, rows)
    for text in ax.get_yticklabels():
        if text.get_text() == BASELINE:
            text.set_color(GREY)
    ax.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    set_ticks(ax, nbins=5)
    ax.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    return add_legend(ax)


def _checked(
    label: str, parts: Sequence[ArrayLike | Sequence[float]], rows: int
) -> np.ndarray:
    """Estimates, lower and upper ends, as rows of an array."""
    kinds = ("estimate", "low", "high")
    each = as_list(parts)
    if each is None or len(each) != len(kinds):
        raise ValueError(
            f"series {label!r} must be (estimate, low, high), got {parts!r}."
        )
    arrays = [
        drawable(part, name=f"{kind} of series {label!r}")
        for kind, part in zip(kinds, each, strict=True)
    ]
    for part, array in zip(kinds, arrays, strict=True):
        if array.shape != (rows,):
            raise ValueError(
                f"{part} of series {label!r} must hold one number for each of {rows} "
                f"names, got {array.shape}."
            )
    values = np.stack(arrays)
    if (values[1] > values[2]).any():
        row = int(np.flatnonzero(values[1] > values[2])[0])
        raise ValueError(
            f"low of series {label!r} must not be above high, got "
            f"{values[1, row]} > {values[2, row]} in row {row}."
        )
    return values


def _draw(
    ax: Axes,
    label: str,
    values: np.ndarray,
    places: np.ndarray,
    style: dict[str, Any],
) -> None:
    """Marks, and bars in the line style of the series."""
    middle, low, high = values
    color = style["color"]
    known = np.isfinite(middle)
    bars = known & np.isfinite(low) & np.isfinite(high)
    ax.hlines(
        *(places[bars], low[bars], high[bars]),
        colors=color,
        linestyles=_DASHES[style["linestyle"]],
        linewidth=1.8,
    )
    mark: dict[str, Any] = {"color": color, "marker": style["marker"], "markersize": 5}
    ax.plot(middle[known], places[known], linestyle="none", **mark)
    ax.plot([], [], linestyle=style["linestyle"], label=label_of(label), **mark)
