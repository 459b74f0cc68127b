"""Where plots are drawn: figures that pyplot does not hold on to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdrop._checks import as_count
from jaxdrop._errors import named, shown
from jaxdrop._numbers import as_floats, as_known
from jaxdrop._typing import ArrayLike
from jaxdrop.plots._styles import style_of, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LARGEST = 1e300  # matplotlib multiplies numbers, which must not overflow
_HIGHEST = 500  # inches: 60 000 pixels, near the most that a figure can have
COLUMN, GUTTER = 3.4, 0.2  # inches: a printed column, and the gap to the next one


@named
def new_figure(columns: int = 1, /, *, height: float | None = None) -> Figure:
    """An empty figure that is as wide as one or two printed columns.

    Unlike figures of pyplot it is freed like any other object. Panels and legends are
    placed so that they do not cover each other (the constrained layout).

    Args:
      columns: 1 for 3.4 inches, 2 for 7 inches, the widths in which conferences and
        journals print.
      height: in inches; 0.75 of a column if None.

    Returns:
      The figure, to which ``figure.subplots()`` adds axes.

    Raises:
      ValueError: if ``columns`` is not 1 or 2, or ``height`` is not positive.
      ImportError: if matplotlib is not installed.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> left, right = plots.new_figure(2, height=2.5).subplots(1, 2)
      >>> figure = plots.rate_sweep(jnp.arange(3) / 4, jnp.ones(3), ax=left)
      >>> figure.get_size_inches().tolist()
      [7.0, 2.5]
    """
    columns = as_count(columns, name="columns", most=2)
    height = finite(0.75 * COLUMN if height is None else height, name="height")
    if not 0 < height <= _HIGHEST:
        raise ValueError(
            f"height must be positive and at most {_HIGHEST} inches, got {height}."
        )
    return sized_figure(columns * COLUMN + (columns - 1) * GUTTER, height)


def sized_figure(width: float = 5.0, height: float = 3.6, /) -> Figure:
    """An empty figure of a size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'jaxdrop.plots needs matplotlib: pip install "jaxdrop[plots]".'
        ) from error
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def given_or_new(ax: Axes | None, /, *size: float) -> Axes:
    """The axes that were given, or those of a new figure that has one panel."""
    if ax is None:
        return sized_figure(*size).subplots()
    figure_of(ax)
    return ax


def figure_of(ax: Axes, /) -> Figure:
    """The whole figure that axes belong to."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be Axes of matplotlib, got {shown(ax)}.")
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax belongs to no figure; it was removed from one.")
    return figure


@named
def add_legend(ax: Axes, /) -> Figure:
    """Adds the legend that all plots of this package have: outside the data.

    It stands under the labels of the x-axis, in as many columns as fit, and moves with
    them; with more than 12 names it stands beside the axes. A figure without a layout
    engine does not make room for it: there it stands where it covers least. Use
    ``layout="constrained"``, as :func:`new_figure` does.

    Args:
      ax: axes of which some contents have a label; without any there is no legend.

    Returns:
      The figure.

    Examples:
      >>> from jaxdrop import plots
      >>> ax = plots.new_figure().subplots()
      >>> line = ax.plot([1, 2], label="loss")
      >>> figure = plots.add_legend(ax)
      >>> [text.get_text() for text in ax.get_legend().get_texts()]
      ['loss']
    """
    from jaxdrop.plots import _legend  # which needs matplotlib

    figure = figure_of(ax)
    plain(ax)
    _legend.add(ax)
    return figure


def plain(ax: Axes, /) -> None:
    """Removes spines and shortens ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=3)


def set_ticks(ax: Axes, /, **parameters: Any) -> None:
    """Sets how ticks of a linear x-axis are found; other scales keep their own."""
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", **parameters)


def drawable(values: Any, /, *, name: str) -> np.ndarray:
    """Real numbers in float64, infinite where too large; or an error by name."""
    array = as_floats(values, name=name)
    return np.where(np.abs(array) > _LARGEST, np.copysign(np.inf, array), array)


def finite(value: Any, /, *, name: str) -> float:
    """One number that can be drawn, or an error that names the argument."""
    number = as_known(value, name=name)
    if not abs(number) <= _LARGEST:
        raise ValueError(f"{name} must be finite, got {value!r}.")
    return number


def by_name(
    values: ArrayLike | Mapping[str, ArrayLike], /, *, argument: str
) -> list[tuple[str | None, np.ndarray]]:
    """Series with their names, or one that has none; raises by name for no numbers."""
    items = values.items() if isinstance(values, Mapping) else [(None, values)]
    return [
        (name, drawable(series, name=series_name(argument, name)))
        for name, series in items
    ]


def styled(
    values: ArrayLike | Mapping[str, ArrayLike], /, *, argument: str
) -> list[tuple[str | None, np.ndarray, dict[str, Any]]]:
    """Series with their names and styles; one without a name has the first style."""
    series = by_name(values, argument=argument)
    if not series:
        raise ValueError(f"{argument} must hold at least one series, got {{}}.")
    found = styles([name for name, _ in series if name is not None])
    return [
        (name, array, style_of(0) if name is None else found[name])
        for name, array in series
    ]


def label_of(name: Any, /) -> str | None:
    """A name as a legend shows it: matplotlib hides those that begin with ``_``."""
    if name is None:
        return None
    text = str(name)
    return f" {text}" if text.startswith("_") else text


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
    if not len(values) and values.ndim > 1:
        raise ValueError(f"{name} must hold at least one repeat, got {values.shape}.")
    return np.atleast_2d(values)


def mean_and_error(rows: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean of rows, and its standard error if there are several."""
    count = len(rows)
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite and huge numbers
        error = rows.std(0, ddof=1) / np.sqrt(count) if count > 1 else None
        return rows.mean(0), error


def ends(middle: np.ndarray, reach: np.ndarray, /) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper ends of intervals, NaN where a part is not finite."""
    known = np.isfinite(middle) & np.isfinite(reach)
    reach = np.where(known, reach, np.nan)
    return middle - reach, middle + reach


def check_some(values: np.ndarray, /, *, name: str) -> None:
    """Raises for an array without entries, of which nothing can be drawn."""
    if not values.size:
        raise ValueError(f"{name} must hold at least one entry, got {values.shape}.")


def panels(number: int, shape: Sequence[int], /) -> list[Axes]:
    """Panels in rows, in the proportions of the arrays that they show."""
    tall = shape[0] / max(1, shape[1])
    columns = min(number, max(1, int(np.ceil(np.sqrt(number * tall)))))
    if number <= 4 and tall >= 0.5:
        columns = number
    rows = -(-number // columns)
    width = 2.2 if tall >= 0.5 else 4.4
    height = float(np.clip(width * tall, 0.3, 4.0)) + 0.35
    figure = sized_figure(width * columns + 0.3, height * rows + 0.5)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for unused in axes[number:]:
        unused.remove()
    return list(axes[:number])
