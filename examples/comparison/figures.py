"""The figures: learning curves and reliability diagrams, a panel for each method."""

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comparison.report import MC_DROPOUT, WEIGHT_SCALING, Outcome
from jaxdrop import plots

_BLUE, _RED, _GREY = "#1f5f9e", "#c8442c", "#7a7a7a"
_MIN_SHARE = 0.004  # of all predictions: with fewer, a bin shows little but chance


def learning_curves(outcomes: list[Outcome], *, title: str) -> Figure:
    """Losses of each method, beside those of the first; bands span the seeds."""
    first = outcomes[0]
    highest = max(outcome.curves.validation[:, -1].mean() for outcome in outcomes)

    def draw(axes: Axes, outcome: Outcome) -> None:
        if outcome is not first:
            losses = first.curves.validation.mean(0)
            label = f"validation, {first.method.name}"
            axes.plot(range(1, len(losses) + 1), losses, "--", color=_GREY, label=label)
        history = {
            "training": outcome.curves.train,
            "validation": outcome.curves.validation,
        }
        plots.learning_curves(history, ylabel="", ax=axes)
        axes.get_legend().remove()
        axes.set_ylim(0, 1.5 * highest)

    return _panels(outcomes, draw, title, "epoch", "cross-entropy")


def reliability_diagrams(outcomes: list[Outcome], *, title: str) -> Figure:
    """Accuracy at each confidence; the area of a point is its share of predictions."""

    def draw(axes: Axes, outcome: Outcome) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, lw=1, label="calibrated")
        for label, color in ((WEIGHT_SCALING, _BLUE), (MC_DROPOUT, _RED)):
            if label not in outcome.scores:
                continue
            bins = outcome.scores[label].bins
            weight, confidence, correct = (
                sums.sum(0) for sums in (bins.weight, bins.confidence, bins.correct)
            )
            shown = weight > _MIN_SHARE * weight.sum()
            x, y = confidence[shown] / weight[shown], correct[shown] / weight[shown]
            areas = 12 + 120 * weight[shown] / weight.sum()
            axes.plot(x, y, color=color, lw=1)
            axes.scatter(x, y, areas, color=color, lw=0, label=label, clip_on=False)
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
    num_rows = math.ceil(len(outcomes) / 5)
    num_columns = math.ceil(len(outcomes) / num_rows)
    figure = Figure(
        figsize=(2.2 * num_columns + 0.6, 2.5 * num_rows + 1), layout="constrained"
    )
    grid = figure.subplots(
        num_rows, num_columns, sharex=True, sharey=True, squeeze=False
    )
    labelled = {}
    for number, (axes, outcome) in enumerate(zip(grid.flat, outcomes, strict=False)):
        draw(axes, outcome)
        axes.set_title(outcome.method.name, fontsize=10)
        is_lowest = number + num_columns >= len(outcomes)
        axes.set_xlabel(x_label if is_lowest else "")
        axes.tick_params(labelbottom=is_lowest)
        axes.grid(color="0.9", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        labelled.update(zip(labels, handles, strict=True))
    for axes in grid.flat[len(outcomes) :]:
        axes.remove()
    figure.suptitle(title, fontsize=11)
    figure.supylabel(y_label, fontsize=10)
    figure.legend(
        labelled.values(),
        labelled.keys(),
        loc="outside lower center",
        ncols=len(labelled),
        frameon=False,
    )
    return figure
