"""Which device drew which part of a mask, and the losses of runs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from jaxdrop import plots
from parallel.records import Part, Run

_ROWS, _WHITE = 3, np.ones(3)
_WIDTHS = (6.0, 3.5, 1.5)


def draw(whole: np.ndarray, runs: dict[str, Run], site: str) -> Figure:
    """Draws the mask of a site by one device and by many, and all loss curves.

    Args:
      whole: ``(rows, columns)``: the mask as one device draws it.
      runs: by name; the devices of the last are shown.
      site: the site of the mask.

    Returns:
      The figure.
    """
    figure = plots.new_figure(2, height=7.0)
    one, many, losses = figure.subplots(_ROWS, 1, height_ratios=(1, 1, 1.1))
    plots.mask(whole, ax=one)
    _axes_of_mask(one)
    one.set_title(f"the mask of “{site}” as one device draws it")
    *_, (name, run) = runs.items()
    _parts(many, whole.shape, run.parts[site])
    many.set_title(f"the same mask in {name}, by parts (dark: kept)")
    plots.learning_curves(
        {name: run.losses for name, run in runs.items()},
        steps=np.arange(len(run.losses)),
        xlabel="step",
        ylabel="training loss",
        ax=losses,
    )
    for line, width in zip(losses.get_lines(), _WIDTHS, strict=False):
        line.set_linewidth(width)  # curves that coincide are seen one on the other
    losses.set(title="the losses of all runs", xlim=(0, max(1, len(run.losses) - 1)))
    for axes in (one, many, losses):
        axes.title.set_fontsize(10)
    return figure


def _axes_of_mask(axes: Axes) -> None:
    axes.set(xlabel="unit", ylabel="row of the batch", aspect="auto")


def _colors(devices: list[int]) -> dict[int, np.ndarray]:
    """A colour for each device; those after the sixth are darker."""
    styles = plots.styles([str(device) for device in devices])
    colors, seen = {}, set()
    for device in devices:
        name = styles[str(device)]["color"]
        colors[device] = np.array(to_rgb(name)) * (0.55 if name in seen else 1)
        seen.add(name)
    return colors


def _parts(axes: Axes, shape: tuple[int, ...], parts: list[Part]) -> None:
    image, handles = np.ones((*shape, 3)), []
    colors = _colors(sorted({part.device for part in parts}))
    for part in parts:
        color = colors[part.device]
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
    axes.imshow(image, interpolation="nearest")
    _axes_of_mask(axes)
    axes.legend(
        handles=handles,
        fontsize=8,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
    )
