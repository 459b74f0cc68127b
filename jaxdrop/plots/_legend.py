"""Legends that stand outside the data: under the labels of the axis, or beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.transforms import BboxBase, IdentityTransform

from jaxdrop.plots._canvas import figure_of

_MOST_BELOW = 12  # names in a legend under the plot, which more would press flat
_GAP = 5  # points between labels and legend
_SIZES = ("small", "x-small")  # of letters; the smaller ones where a legend is high
_HIGH = 0.22  # of the height of a row of axes: above this, letters are smaller


class _UnderLabels(BboxBase):
    """A line under axes and their labels, wherever these are.

    Read anew when the axes have moved, so that labels that are set later move it too.
    """

    pass_through = True  # every move of the axes, to those who depend on this line

    def __init__(self, ax: Axes) -> None:
        super().__init__()
        self._ax = ax
        self.set_children(ax.bbox)

    def get_points(self) -> np.ndarray:
        left, right, lowest = _extent(self._ax)
        lowest -= _GAP * self._ax.figure.dpi / 72
        return np.array([[left, lowest], [right, lowest]])


def _extent(ax: Axes) -> tuple[float, float, float]:
    """Left, right and lower end of axes with the labels of both axes, in pixels."""
    box = ax.get_window_extent()
    below, beside = ax.xaxis.get_tightbbox(), ax.yaxis.get_tightbbox()
    left = box.x0 if beside is None else min(box.x0, beside.x0)
    return left, box.x1, box.y0 if below is None else min(box.y0, below.y0)


def _room(ax: Axes) -> float:
    """The width in pixels that axes and labels will have at least."""
    left, right, _ = _extent(ax)
    spec = ax.get_subplotspec()
    if spec is None:
        return right - left
    ratios = np.asarray(spec.get_gridspec().get_width_ratios(), float)
    cell = ax.figure.bbox.width * ratios[list(spec.colspan)].sum() / ratios.sum()
    return min(right - left, cell - 0.15 * ax.figure.dpi)


def _high(ax: Axes) -> float:
    """The height in pixels from which a legend leaves the axes too little room."""
    spec = ax.get_subplotspec()
    share = 1.0
    if spec is not None:
        ratios = np.asarray(spec.get_gridspec().get_height_ratios(), float)
        share = ratios[list(spec.rowspan)].sum() / ratios.sum()
    return float(_HIGH * ax.figure.bbox.height * share)


def add(ax: Axes, handles: list[Artist] | None = None, /) -> None:
    """Adds a legend of all names, or of some handles, outside the data."""
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    names = [handle.get_label() for handle in handles]
    if not names:
        return
    style: dict[str, Any] = {"frameon": False, "fontsize": _SIZES[0]}
    if len(names) > _MOST_BELOW:
        style |= {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        ax.legend(handles=handles, ncols=-(-len(names) // 24), **style)
        return
    if figure_of(ax).get_layout_engine() is None:
        ax.legend(handles=handles, **style | {"loc": "best", "frameon": True})
        return
    style |= {"loc": "upper center", "borderaxespad": 0}
    room, high = _room(ax), _high(ax)
    for size in _SIZES:
        style |= {"fontsize": size}
        for columns in range(min(4, len(names)), 0, -1):
            legend = ax.legend(handles=handles, ncols=columns, **style)
            box = legend.get_window_extent()
            if box.width <= room:
                break
        if box.height <= high:
            break
    legend.set_bbox_to_anchor(_UnderLabels(ax), IdentityTransform())
