"""The figures: learning curves and reliability diagrams, a panel for each method."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comparison.report import MC_DROPOUT, WEIGHT_SCALING, Outcome

_BLUE, _ORANGE, _GRAY = "#0072B2", "#D55E00", "#999999"
_MIN_SHARE = 0.002  # of all predictions: with fewer, a bin shows little but chance


def learning_curves(outcomes: list[Outcome], *, title: str) -> Figure:
    """Training and validation loss, and behind them those without regularization."""
    reference = outcomes[0]

    def draw(axes: Axes, outcome: Outcome) -> None:
        epochs = np.arange(1, outcome.curves.train.shape[1] + 1)
        if outcome is not reference:
            label = f"validation, {reference.method.name}"
            validation = reference.curves.validation.mean(0)
            axes.plot(epochs, validation, color=_GRAY, lw=1, label=label)
        for label, losses, color in (
            ("validation", outcome.curves.validation, _ORANGE),
            ("training", outcome.curves.train, _BLUE),
        ):
            axes.plot(epochs, losses.mean(0), color=color, lw=1.5, label=label)
            extremes = losses.min(0), losses.max(0)
            axes.fill_between(epochs, *extremes, color=color, alpha=0.2, lw=0)
        axes.set_yscale("log")

    return _panels(outcomes, draw, title, "epoch", "cross-entropy without noise")


def reliability_diagrams(outcomes: list[Outcome], *, title: str) -> Figure:
    """Accuracy at each confidence; the area of a point is its share of predictions."""

    def draw(axes: Axes, outcome: Outcome) -> None:
        axes.plot([0, 1], [0, 1], color=_GRAY, lw=1, label="calibrated")
        for label, color in ((WEIGHT_SCALING, _BLUE), (MC_DROPOUT, _ORANGE)):
            if label not in outcome.scores:
                continue
            bins = outcome.scores[label].bins
            weight, confidence, correct = (
                sums.sum(0) for sums in (bins.weight, bins.confidence, bins.correct)
            )
            shown = weight > _MIN_SHARE * weight.sum()
            x, y = confidence[shown] / weight[shown], correct[shown] / weight[shown]
            areas = 10 + 200 * weight[shown] / weight.sum()
            axes.plot(x, y, color=color, lw=1)
            axes.scatter(x, y, areas, color=color, alpha=0.7, lw=0, label=label)
        axes.set_aspect("equal")

    return _panels(outcomes, draw, title, "confidence", "accuracy")


def _panels(
    outcomes: list[Outcome],
    draw: Callable[[Axes, Outcome], None],
    title: str,
    x_label: str,
    y_label: str,
) -> Figure:
    """A grid of panels with common axes and one legend."""
    num_columns = min(5, len(outcomes))
    num_rows = math.ceil(len(outcomes) / num_columns)
    figure = Figure(
        figsize=(2.2 * num_columns + 0.4, 2.2 * num_rows + 0.9), layout="constrained"
    )
    grid = figure.subplots(
        num_rows, num_columns, sharex=True, sharey=True, squeeze=False
    )
    labelled = {}
    for axes, outcome in zip(grid.flat, outcomes, strict=False):
        draw(axes, outcome)
        axes.set_title(outcome.method.name, fontsize=10)
        axes.grid(color="0.9", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        labelled.update(zip(labels, handles, strict=True))
    for axes in grid.flat[len(outcomes) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(x_label, fontsize=10)
    figure.supylabel(y_label, fontsize=10)
    figure.legend(
        labelled.values(),
        labelled.keys(),
        loc="outside lower center",
        ncols=len(labelled),
        frameon=False,
    )
    return figure
