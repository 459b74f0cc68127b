"""A plot of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from jaxdrop._checks import check_switch
from jaxdrop._errors import named
from jaxdrop._numbers import as_floats
from jaxdrop.plots import _styles
from jaxdrop.plots._canvas import check_some, figure_of, given_or_new, panels

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEPT, _DROPPED = _styles.BLUE, "#dfe3e8"
_MOST_IN_ROW, _WRAP = 48, 32  # entries of a mask with one axis in a row
_SEPARATE = 64  # rows and columns up to which cells have gaps between them


@named
def mask(kept: ArrayLike, /, *, key: bool = True, ax: Axes | None = None) -> Figure:
    """Draws the kept entries of a mask dark, and the dropped ones light.

    Args:
      kept: a boolean mask, ``True`` where kept: ``(n,)``, ``(rows, columns)``, or
        ``(panels, rows, columns)``, such as the examples or the channels of a batch.
        More than 48 entries along a single axis are wrapped into rows of 32, with the
        index of the first entry of a row beside it.
      key: whether a key says which colour is kept and which is dropped.
      ax: where to draw a single panel; a new figure if None.

    Returns:
      The figure; the share that is dropped stands above each panel.

    Raises:
      ValueError: if the mask is empty, or has no or more than three axes, or several
        panels are to be drawn into one.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> figure = plots.mask(jnp.ones((3, 8, 8), bool))
      >>> len(figure.axes), figure.axes[0].get_title()
      (3, '0 % dropped')
    """
    key = check_switch(key, name="key")
    shown = as_floats(kept, name="kept") != 0
    if not 1 <= shown.ndim <= 3:
        raise ValueError(f"kept must have 1, 2 or 3 axes, got shape {shown.shape}.")
    check_some(shown, name="kept")
    cells = _wrapped(shown) if shown.ndim == 1 else shown.astype(float)
    cells = cells.reshape((1,) * (3 - cells.ndim) + cells.shape)
    if ax is not None and len(cells) > 1:
        raise ValueError(f"{len(cells)} panels do not fit one ax; leave ax out.")
    axes = panels(len(cells), cells.shape[1:]) if ax is None else [given_or_new(ax)]
    for panel, place in zip(cells, axes, strict=True):
        _draw(place, panel)
        dropped = 100 * (1 - np.nanmean(panel))
        place.set_title(f"{dropped:.3g} % dropped", fontsize="medium")
    if shown.ndim == 1:
        _count_entries(axes[0], shown.size)
    if key:
        _add_key(axes[0], whole=ax is None)
    return figure_of(axes[0])


def _wrapped(entries: np.ndarray) -> np.ndarray:
    """Entries in rows; cells after the last one are NaN."""
    columns = _columns(entries.size)
    cells = np.full((-(-entries.size // columns), columns), np.nan)
    cells.flat[: entries.size] = entries
    return cells


def _columns(size: int) -> int:
    return size if size <= _MOST_IN_ROW else _WRAP


def _draw(ax: Axes, cells: np.ndarray) -> None:
    from matplotlib.colors import ListedColormap

    colors = ListedColormap([_DROPPED, _KEPT])
    ax.imshow(cells, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    if max(cells.shape) <= _SEPARATE:
        rows, columns = cells.shape
        ax.set_xticks(np.arange(1, columns) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, rows) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=0.8)
        ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)


def _count_entries(ax: Axes, size: int) -> None:
    """The index of the first entry of each row, and of some columns."""
    columns = _columns(size)
    step = max(1, columns // 8)
    ax.set_xticks(range(0, columns, step))
    rows = -(-size // columns)
    if rows > 1:
        every = range(0, rows, -(-rows // 8))
        ax.set_yticks(every, [str(row * columns) for row in every])
    ax.tick_params(which="major", length=0, labelsize="small")


def _add_key(ax: Axes, *, whole: bool) -> None:
    """The key of one panel, or one for the whole figure."""
    from matplotlib.patches import Patch

    from jaxdrop.plots import _legend

    entries: list[Artist] = [
        Patch(color=color, label=name)
        for name, color in (("kept", _KEPT), ("dropped", _DROPPED))
    ]
    if whole:
        style: dict[str, Any] = {"ncols": 2, "fontsize": "small", "frameon": False}
        figure_of(ax).legend(handles=entries, loc="outside lower center", **style)
    else:
        _legend.add(ax, entries)
