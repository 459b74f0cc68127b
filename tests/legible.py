"""What is wrong with a figure as it is printed: cut, overprinted or pressed flat."""

import itertools

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_LEAST = 0.25  # of a row of the figure: the height that axes have at least
_PIXEL, _GAP = 1.0, 3.0  # what a text may be outside, and labels are apart


def faults(figure: Figure) -> list[str]:
    """Descriptions of what a reader would complain of; none of a figure that is fine.

    Args:
      figure: is drawn as it would be saved.
    """
    figure.draw_without_rendering()
    return [*_cut(figure), *_overprinted(figure), *_flat(figure)]


def _cut(figure: Figure) -> list[str]:
    """Texts that leave the figure."""
    ticks = {
        id(label)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True))
    }
    page = figure.bbox.padded(_PIXEL)
    return [
        f"cut: {text.get_text()!r}"
        for text in figure.findobj(Text)
        if id(text) not in ticks and _is_shown(text)
        for box in [text.get_window_extent()]
        if not _inside(box, page)
    ]


def _overprinted(figure: Figure) -> list[str]:
    """Labels of neighbouring ticks that touch."""
    found = []
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            boxes = [
                (label.get_text(), label.get_window_extent())
                for label, place in zip(
                    axis.get_ticklabels(), axis.get_ticklocs(), strict=False
                )
                if _is_shown(label)
                and not label.get_rotation()
                and min(axis.get_view_interval()) <= place
                and place <= max(axis.get_view_interval())
            ]
            boxes.sort(key=lambda pair: (pair[1].x0, pair[1].y0))
            for (one, left), (other, right) in itertools.pairwise(boxes):
                if left.padded(_GAP).overlaps(right):
                    found.append(f"overprinted: {one!r} and {other!r}")
    return found


def _flat(figure: Figure) -> list[str]:
    """Axes that labels and legends leave no room."""
    found = []
    for ax in figure.axes:
        spec = ax.get_subplotspec()
        if spec is None:
            continue
        ratios = spec.get_gridspec().get_height_ratios()
        share = sum(ratios[row] for row in spec.rowspan) / sum(ratios)
        height = ax.get_window_extent().height / figure.bbox.height
        if height < _LEAST * share:
            found.append(f"flat: axes have {height:.2f} of the figure's height")
    return found


def _is_shown(text: Text) -> bool:
    return text.get_visible() and bool(text.get_text().strip())


def _inside(box: Bbox, page: Bbox) -> bool:
    return (
        page.x0 <= box.x0
        and box.x1 <= page.x1
        and page.y0 <= box.y0
        and box.y1 <= page.y1
    )
