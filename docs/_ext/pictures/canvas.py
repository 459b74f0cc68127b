"""What all pictures share: size, colours, and an image to work on."""

import functools
import pathlib
import sys
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxdrop import plots

sys.path.append(str(pathlib.Path(__file__).parents[3] / "examples"))

from study.files import replacing

GREY = "#8a8f98"
"""Reads on a white and on a black page."""
DROPPED = "#d9dce1"
KEPT, OTHER, THIRD = (
    style["color"] for style in plots.styles(["kept", "other", "third"]).values()
)
"""Colours of all plots, which people with protanopia and deuteranopia distinguish."""

STYLE = {
    "svg.hashsalt": "jaxdrop",  # the same file from the same drawing
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "text.color": GREY,
    "legend.labelcolor": GREY,
    "legend.frameon": False,
}


def canvas(
    columns: int = 3, rows: int = 1, *, size: tuple[float, float] = (2.4, 2.0)
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, always as a two-dimensional array."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.set_layout_engine("constrained")
    return figure, axes


def save(drawing: Callable[[], Figure], path: pathlib.Path) -> None:
    """Draws and writes a figure: with a transparent background unless it is a PNG.

    The file is whole or as it was before, even if the process is killed.
    """
    text = {"svg.fonttype": "none"} if path.parent.name == "measured" else {}
    with mpl.rc_context(STYLE | text):
        is_svg = path.suffix == ".svg"
        about = {"Date": None} if is_svg else {}
        figure = drawing()
        with replacing(path) as partial:
            figure.savefig(partial, transparent=is_svg, metadata=about, dpi=110)


def show(axes: Axes, array: np.ndarray, title: str = "", **options: object) -> None:
    """Shows an array as an image, without ticks."""
    options.setdefault("interpolation", "nearest")
    axes.imshow(np.asarray(array), **options)
    axes.set(title=title, xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_flags(axes: Axes, kept: np.ndarray, title: str = "") -> None:
    """Shows booleans as filled and empty cells, with a gap between them, and a key."""
    colours = mpl.colors.ListedColormap([DROPPED, KEPT])
    rows, columns = kept.shape
    axes.pcolormesh(
        np.flipud(np.asarray(kept, float)),
        cmap=colours,
        vmin=0,
        vmax=1,
        edgecolors="none" if rows * columns > 4000 else "white",
        linewidth=0.4,
    )
    axes.set(title=title, xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure = axes.get_figure(root=True)
    if not figure.legends:
        colours = {"kept": KEPT, "dropped": DROPPED}
        key = [Patch(color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=key, loc="outside lower center", ncols=2, fontsize=8)


def labelled(axes: Axes, x: str, y: str) -> None:
    """Names both axes."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)


@functools.cache
def photograph() -> np.ndarray:
    """A photograph that scikit-learn bundles, 96 x 120, in [0, 1]."""
    from sklearn.datasets import load_sample_image

    full = load_sample_image("flower.jpg")[60:420, 120:570].astype(np.float32) / 255
    small = full[: 96 * 3 + 72, :].reshape(120, 3, 150, 3, 3).mean((1, 3))
    return small[12:108, 15:135]


@functools.cache
def photographs() -> np.ndarray:
    """Eight crops of two photographs, ``(8, 48, 48, 3)``."""
    from sklearn.datasets import load_sample_image

    crops = []
    for name, corners in (
        ("china.jpg", ((60, 120), (150, 300), (200, 30), (30, 400))),
        ("flower.jpg", ((60, 180), (120, 300), (20, 60), (180, 420))),
    ):
        image = load_sample_image(name).astype(np.float32) / 255
        for row, column in corners:
            crop = image[row : row + 192, column : column + 192]
            crops.append(crop.reshape(48, 4, 48, 4, 3).mean((1, 3)))
    return np.stack(crops)


def triptych(titles: Sequence[str], arrays: Sequence[np.ndarray]) -> Figure:
    """Images side by side."""
    figure, axes = canvas(len(arrays))
    for ax, title, array in zip(axes[0], titles, arrays, strict=True):
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if array.ndim == 2 else {}
        show(ax, np.clip(array, 0, 1), title, **grey)
    return figure
