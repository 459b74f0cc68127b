"""The figures: learning curves, and what is dropped of feature maps and of images."""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import jaxdrop
from jaxdrop import inputs, plots
from residual.report import Outcome

_SHOWN = 4  # masks of a technique
_WIDTH = 7.0  # inches: two printed columns
_DROPPED = plots.styles(["kept", "dropped"])["dropped"]["color"]


def learning_curves(
    outcomes: list[Outcome], *, steps: np.ndarray, title: str
) -> Figure:
    """Validation losses of each method beside those of the first; bands span seeds."""
    reference, *others = outcomes
    columns = min(4, max(1, len(others)))
    rows = math.ceil(len(others) / columns) or 1
    figure = plots.new_figure(2, height=1.7 * rows + 1.0)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    name = reference.method.name
    shown = zip(grid.flat, others or [reference], strict=False)
    for number, (axes, outcome) in enumerate(shown):
        plots.learning_curves(
            {outcome.method.name: outcome.checks.nll, name: reference.checks.nll},
            steps=steps,
            ylabel="",
            ax=axes,
        )
        axes.set_title(outcome.method.name, fontsize="small")
        is_lowest = number + columns >= max(1, len(others))
        axes.set_xlabel("epoch" if is_lowest else "")
        axes.tick_params(labelbottom=is_lowest)
        axes.tick_params(labelsize="small")
        handles, labels = axes.get_legend_handles_labels()
        axes.get_legend().remove()
    for axes in grid.flat[max(1, len(others)) :]:
        axes.remove()
    means = np.stack([outcome.checks.nll.mean(0) for outcome in outcomes])
    grid[0, 0].set_ylim(0, min(1.05 * means.max(), 4 * means[:, -1].max()))
    figure.suptitle(title, fontsize=11)
    figure.supylabel("cross-entropy, validation", fontsize="medium")
    figure.legend(
        handles,
        ["the method", *labels[1:]] if others else labels,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize="small",
    )
    return figure


def masks(key: Array, maps: Array, images: Array, *, title: str) -> Figure:
    """What techniques drop: masks on the left, and what is left over on the right.

    Args:
      key: of the masks.
      maps: feature maps of one image, ``(height, width, channels)``.
      images: ``(images, height, width)``.
      title: what stands above.

    Returns:
      The figure: a row for each technique; of cutout it shows images, of the others
      channels of one image.
    """
    batch = jnp.ones((1, *maps.shape))
    ones = jnp.ones((*images.shape, 1))
    of_maps = {
        "dropout": jaxdrop.dropout(key, batch, rate=0.3),
        "spatial dropout": jaxdrop.spatial_dropout(key, batch, rate=0.3),
        "DropBlock": jaxdrop.drop_block(key, batch, rate=0.3, block_size=3),
    }
    kept = {name: np.moveaxis(drop[0] != 0, -1, 0) for name, drop in of_maps.items()}
    holes = inputs.cutout(key, ones, size=round(0.4 * images.shape[1]))
    kept["cutout"] = np.asarray(holes[..., 0] != 0)
    pictures = dict.fromkeys(kept, np.moveaxis(np.asarray(maps), -1, 0))
    pictures["cutout"] = np.asarray(images)

    figure = Figure(figsize=(_WIDTH, 0.95 * len(kept) + 0.6))
    grid = figure.subplots(len(kept), 2 * _SHOWN, squeeze=False)
    for places, (name, kept_of_all) in zip(grid, kept.items(), strict=True):
        for number in range(_SHOWN):
            here = kept_of_all[number]
            plots.mask(here, ax=places[number])
            key = places[number].get_legend()
            key.remove()
            places[number].title.set_fontsize(6)
            _picture(places[_SHOWN + number], pictures[name][number], here)
        places[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=4)
        places[0].yaxis.label.set_fontsize(8)
    figure.suptitle(title, fontsize=11)
    left_out = Patch(color=_DROPPED, label="dropped, in pictures")
    figure.legend(
        handles=[*key.legend_handles, left_out],
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize="small",
    )
    figure.subplots_adjust(0.15, 0.07, 0.99, 0.89, wspace=0.12, hspace=0.35)
    return figure


def _picture(axes: Axes, picture: np.ndarray, kept: np.ndarray) -> None:
    """What a mask leaves of a picture; what is dropped has a colour of its own."""
    axes.imshow(picture, cmap="gray_r", vmin=picture.min(), vmax=picture.max())
    dropped = np.ma.masked_where(kept, np.ones(kept.shape))
    axes.imshow(dropped, cmap=ListedColormap([_DROPPED]))
    axes.set(xticks=[], yticks=[])
