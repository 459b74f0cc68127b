"""Where plots are drawn: figures that pyplot does not hold on to, and their colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#1f5f9e", "#c8442c", "#7a7a7a"
COLORS = (BLUE, RED, "#3f8f4f", "#8a5aa8", "#c98a1b", "#4aa3a8", "#8c564b", GREY)

LINES = ("-", "--", ":", "-.")
_MOST_INSIDE = 12  # names in a legend inside the plot


def new_figure(size: tuple[float, float] = (5.0, 3.6), /) -> Figure:
    """An empty figure of a size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'jaxdrop.plots needs matplotlib: pip install "jaxdrop[plots]".'
        ) from error
    return Figure(figsize=size, dpi=120, layout="constrained")


def new_axes() -> Axes:
    """The axes of a new figure that has one panel."""
    return new_figure().subplots()


def figure_of(ax: Axes, /) -> Figure:
    """The whole figure that axes belong to."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax belongs to no figure.")
    return figure


def finished(ax: Axes, /) -> Figure:
    """The figure of axes whose contents are complete: a legend if there are names."""
    plain(ax)
    names = ax.get_legend_handles_labels()[1]
    if len(names) > _MOST_INSIDE:  # beside the plot, which so many names would cover
        columns = -(-len(names) // 24)
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        ax.legend(frameon=False, fontsize="small", ncols=columns, **place)
    elif names:
        ax.legend(frameon=False)
    return figure_of(ax)


def plain(ax: Axes, /) -> None:
    """Removes spines and shortens ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=3)


def named(
    values: ArrayLike | Mapping[str, ArrayLike], /
) -> list[tuple[str | None, np.ndarray]]:
    """Series with their names, or one that has none."""
    items = values.items() if isinstance(values, Mapping) else [(None, values)]
    return [(name, np.asarray(series, float)) for name, series in items]


def series_name(argument: str, name: str | None, /) -> str:
    """The name of a series in errors: its argument, and its own name if it has one."""
    return argument if name is None else f"{argument} {name!r}"


def as_rows(values: np.ndarray, length: int | None, /, *, name: str) -> np.ndarray:
    """Returns repeats of a series as rows, or raises by name; one series is one row."""
    if values.ndim not in (1, 2) or length not in (None, values.shape[-1]):
        shown = "S" if length is None else length
        raise ValueError(
            f"{name} must have the shape ({shown},) or (repeats, {shown}), got "
            f"{values.shape}."
        )
    return np.atleast_2d(values)


def check_some(values: np.ndarray, /, *, name: str) -> None:
    """Raises for an array without entries, of which nothing can be drawn."""
    if not values.size:
        raise ValueError(f"{name} must hold at least one entry, got {values.shape}.")


def line_of(index: int, /) -> str:
    """The line style of the series with this number, by the round of colours."""
    return LINES[index // len(COLORS) % len(LINES)]


def color_of(index: int, /) -> str:
    """The colour of the series with this number."""
    return COLORS[index % len(COLORS)]


def panels(number: int, shape: Sequence[int], /) -> list[Axes]:
    """Panels in rows, in the proportions of the arrays that they show."""
    tall = shape[0] / max(1, shape[1])
    columns = min(number, max(1, int(np.ceil(np.sqrt(number * tall)))))
    rows = -(-number // columns)
    height = float(np.clip(2.2 * tall, 0.4, 4.0)) + 0.35
    figure = new_figure((2.2 * columns + 0.3, height * rows))
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for unused in axes[number:]:
        unused.remove()
    return list(axes[:number])
