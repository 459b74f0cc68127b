"""Which device drew which part of a mask, and the losses of runs."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from parallel.records import Part, Run

_ROWS, _WHITE = 3, np.ones(3)


def draw(whole: np.ndarray, runs: dict[str, Run], site: str) -> Figure:
    """Draws the mask of a site by one device and by many, and all loss curves.

    Args:
      whole: ``(rows, columns)``: the mask as one device draws it.
      runs: by name; the devices of the last are shown.
      site: the site of the mask.

    Returns:
      The figure.
    """
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    one, many, losses = figure.subplots(_ROWS, 1, height_ratios=(1, 1, 1.1))
    _mask(one, np.where(whole[..., None], 0.25, 1.0).repeat(3, -1))
    one.set_title(f"the mask of “{site}” as one device draws it (dark: kept)")
    *_, (name, run) = runs.items()
    _parts(many, whole.shape, run.parts[site])
    many.set_title(f"the same mask in {name}, each device its own part")
    styles = [("0.75", 6.0, "-"), ("#0072B2", 3.0, "-"), ("#D55E00", 1.2, "--")]
    for (name, run), (color, width, line) in zip(runs.items(), styles, strict=False):
        steps = np.arange(len(run.losses))
        losses.plot(steps, run.losses, line, color=color, lw=width, label=name)
    losses.set(xlabel="step", ylabel="training loss", title="the losses of all runs")
    losses.set_xlim(0, max(1, len(run.losses) - 1))
    losses.legend(fontsize=8)
    return figure


def _mask(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, aspect="auto", interpolation="nearest")
    axes.set(xlabel="unit", ylabel="row of the batch")


def _parts(axes: Axes, shape: tuple[int, ...], parts: list[Part]) -> None:
    image, handles = np.ones((*shape, 3)), []
    for part in parts:
        color = np.array(colormaps["tab10"](part.device % 10)[:3])
        (row, column), (rows, columns) = part.first, part.kept.shape
        pale = 0.82 * _WHITE + 0.18 * color
        image[row : row + rows, column : column + columns] = np.where(
            part.kept[..., None], color, pale
        )
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), columns, rows, fill=False, ec="k", lw=0.6
            )
        )
        label = f"device {part.device}, process {part.process}"
        handles.append(Patch(color=color, label=label))
    _mask(axes, image)
    axes.legend(
        handles=handles,
        fontsize=8,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
    )
