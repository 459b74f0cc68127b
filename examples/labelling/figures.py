"""The figures: accuracy by number of labels, and the images that were asked for."""

import numpy as np
from matplotlib.figure import Figure

from data import Split
from jaxdrop import plots
from labelling.rounds import Run
from labelling.summary import accuracies

_WIDTH = 7.0  # inches: two printed columns


def label_efficiency(
    counts: np.ndarray, runs: dict[str, list[Run]], reference: str, *, title: str
) -> Figure:
    """Mean accuracies with bands of one standard error to each side."""
    figure = plots.new_figure(2, height=4.4)
    axes = figure.subplots()
    target = 100 * accuracies(runs[reference])[:, -1].mean()
    label = f"{reference}, mean at {counts[-1]} labels"
    axes.axhline(target, color="0.5", lw=1, ls="--", zorder=0, label=label)
    plots.learning_curves(
        {name: 100 * accuracies(of_strategy) for name, of_strategy in runs.items()},
        steps=counts,
        xlabel="labels",
        ylabel="accuracy, %",
        band="standard error",
        ax=axes,
    )
    axes.set_title(title, fontsize=11)
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    return figure


def first_asked(
    runs: dict[str, list[Run]],
    pool: Split,
    shape: tuple[int, int],
    *,
    first: int,
    number: int,
    title: str,
) -> Figure:
    """The images that each strategy asked for first, with the first seed.

    Args:
      runs: of each strategy.
      pool: the images, as they are to be shown.
      shape: (height, width) of an image.
      first: how many labels there were before.
      number: how many images to show.
      title: what stands above.

    Returns:
      The figure: a row for each strategy.
    """
    figure = Figure(figsize=(_WIDTH, 0.8 * len(runs) + 0.5))
    grid = figure.subplots(len(runs), number, squeeze=False)
    for places, (name, of_strategy) in zip(grid, runs.items(), strict=True):
        rows = of_strategy[0].rows[first : first + number]
        for axes, row in zip(places, rows, strict=True):
            axes.imshow(pool.x[row].reshape(shape), cmap="gray_r")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{pool.y[row]}", fontsize=8, pad=2)
        places[0].set_ylabel(
            name, rotation=0, ha="right", va="center", labelpad=4, fontsize=8
        )
    figure.suptitle(f"{title}; above each its class", fontsize=11)
    figure.subplots_adjust(0.14, 0.02, 0.99, 0.86, wspace=0.08, hspace=0.3)
    return figure
