"""The figures: gains with their cost, learning curves and reliability diagrams."""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comparison.report import WEIGHT_SCALING, Outcome
from comparison.verdicts import LEVEL, SCORES, Verdicts
from jaxdrop import metrics, plots
from study.gains import Gain

_GREY = plots.styles(["none"])["none"]["color"]
_MIN_SHARE = 0.004  # of all predictions: with fewer, a bin shows little but chance


def gains(outcomes: Sequence[Outcome], verdicts: Verdicts, *, title: str) -> Figure:
    """What each method gains, in the order of ``outcomes``, and the time it takes."""
    shown = [o for o in outcomes if o.method.name != verdicts.baseline]
    names = [outcome.method.name for outcome in shown]
    figure = plots.new_figure(2, height=0.34 * len(names) + 1.6)
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(4, 4, 2))
    interval = f"{100 * LEVEL:g} % interval"
    for axes, score in zip(panels, ("error", "NLL"), strict=False):
        unit, scale = SCORES[score]
        series = {
            way: _columns(names, by_score[score], scale)
            for way, by_score in verdicts.gains.items()
            if by_score[score]
        }
        label = f"gain in {score}, {unit}\n(right is better)"
        plots.forest(names, series, xlabel=label, interval=interval, ax=axes)
        handles, labels = axes.get_legend_handles_labels()
        axes.get_legend().remove()
        axes.locator_params(axis="x", nbins=5)
    seconds = np.array([outcome.seconds for outcome in shown])
    axes = panels[2]
    axes.barh(range(len(names)), seconds, height=0.55, color=_GREY)
    base = next(o.seconds for o in outcomes if o.method.name == verdicts.baseline)
    axes.axvline(base, color="black", lw=1, ls="--", label=verdicts.baseline)
    axes.set_xlabel("training,\nseconds")
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    handles += axes.get_legend_handles_labels()[0]
    labels += [f"seconds of {verdicts.baseline}"]
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    for axes in panels:
        axes.tick_params(labelsize=8)
    figure.suptitle(f"{title}, gain over {verdicts.baseline}", fontsize=10)
    return figure


def _columns(
    names: Sequence[str], found: Sequence[Gain], scale: float
) -> tuple[np.ndarray, ...]:
    """Estimates and ends of intervals in the order of names, NaN where missing."""
    by_name = {gain.name: scale * np.array(gain[1:4], float) for gain in found}
    rows = [by_name.get(name, np.full(3, np.nan)) for name in names]
    return tuple(np.array(rows).T)


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
    """Accuracy at each confidence, by means over networks."""
    images = len(outcomes[0].scores[WEIGHT_SCALING].wrong[0])

    def draw(axes: Axes, outcome: Outcome) -> None:
        shown = {way: _mean_of(s.bins) for way, s in outcome.scores.items()}
        plots.reliability_diagram(shown, ax=axes)
        for handle, way in zip(_named(axes), shown, strict=True):
            handle.set_label(way)  # without the error, which has no room in the legend
        axes.get_legend().remove()

    note = f"bars: of one network, {images} test images"
    return _panels(outcomes, draw, f"{title}\n{note}", "confidence", "accuracy")


def _named(axes: Axes) -> list[Artist]:
    """The curves of a reliability diagram, without its diagonal and its note."""
    return axes.get_legend_handles_labels()[0][1:-1]


def _mean_of(bins: metrics.CalibrationBins) -> metrics.CalibrationBins:
    """The mean over networks, without bins that show little but chance."""
    mean = jax.tree.map(lambda sums: np.asarray(sums).mean(0), bins)
    enough = mean.weight > _MIN_SHARE * mean.weight.sum()
    return jax.tree.map(lambda sums: np.where(enough, sums, 0), mean)


def _panels(
    outcomes: list[Outcome],
    draw: Callable[[Axes, Outcome], None],
    title: str,
    x_label: str,
    y_label: str,
) -> Figure:
    """A grid of panels with common axes and one legend, two printed columns wide."""
    num_rows = math.ceil(len(outcomes) / 5)
    num_columns = math.ceil(len(outcomes) / num_rows)
    height = 7.0 / max(3, num_columns) + 0.3
    figure = plots.new_figure(2, height=height * num_rows + 1)
    grid = figure.subplots(
        num_rows, num_columns, sharex=True, sharey=True, squeeze=False
    )
    labelled = {}
    for number, (axes, outcome) in enumerate(zip(grid.flat, outcomes, strict=False)):
        draw(axes, outcome)
        axes.set_title(outcome.method.name, fontsize="x-small")
        axes.set_ylabel("")
        is_lowest = number + num_columns >= len(outcomes)
        axes.set_xlabel(x_label if is_lowest else "", fontsize="small")
        axes.tick_params(labelbottom=is_lowest, labelsize="small")
        axes.grid(color="0.9", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        labelled.update(zip(labels, handles, strict=True))
    for axes in grid.flat[len(outcomes) :]:
        axes.remove()
    figure.suptitle(title, fontsize=10)
    figure.supylabel(y_label, fontsize="medium")
    figure.legend(
        labelled.values(),
        labelled.keys(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize="small",
    )
    return figure
