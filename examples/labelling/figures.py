"""The figures: accuracy by number of labels, and the images that were asked for."""

import numpy as np
from matplotlib.figure import Figure

from data import Split
from labelling.rounds import Run
from labelling.summary import accuracies, standard_error

_COLORS = ("#7a7a7a", "#c98a1b", "#1f5f9e", "#c8442c")


def label_efficiency(
    counts: np.ndarray, runs: dict[str, list[Run]], reference: str, *, title: str
) -> Figure:
    """Mean accuracies with bands of one standard error to each side."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for color, (name, of_strategy) in zip(_COLORS, runs.items(), strict=False):
        curves = 100 * accuracies(of_strategy)
        mean, error = curves.mean(0), standard_error(curves)
        axes.plot(counts, mean, color=color, label=name, lw=1.8)
        axes.fill_between(
            counts, mean - error, mean + error, color=color, alpha=0.25, lw=0
        )
    target = 100 * accuracies(runs[reference])[:, -1].mean()
    axes.axhline(target, color=_COLORS[0], lw=1, ls="--", zorder=0)
    axes.annotate(
        f"{reference}, {counts[-1]} labels",
        (counts[0], target),
        (0, 3),
        textcoords="offset points",
        fontsize=8,
        color="0.35",
    )
    axes.set(xlabel="labels", ylabel="accuracy %", title=title)
    axes.legend(loc="lower right", frameon=False, title="mean ± standard error")
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
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
    figure = Figure(figsize=(0.75 * number + 1.2, 1.02 * len(runs) + 0.5))
    grid = figure.subplots(len(runs), number, squeeze=False)
    for places, (name, of_strategy) in zip(grid, runs.items(), strict=True):
        rows = of_strategy[0].rows[first : first + number]
        for axes, row in zip(places, rows, strict=True):
            axes.imshow(pool.x[row].reshape(shape), cmap="gray_r")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{pool.y[row]}", fontsize=9, pad=2)
        places[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
    figure.suptitle(title, fontsize=11)
    figure.subplots_adjust(0.14, 0.02, 0.99, 0.86, wspace=0.08, hspace=0.3)
    return figure
