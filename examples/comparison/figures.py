"""The figures of the comparison, and of studies.

Gains with their cost, learning curves and reliability diagrams; errors by strength, by
rate and by the number of images, and what is inside networks.
"""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform

from comparison.answers import WEIGHT_SCALING
from comparison.search import Search
from comparison.sizes import OfSize
from comparison.studies import Measured
from comparison.verdicts import LEVEL, SCORES, Outcome, Verdicts
from jaxdrop import metrics, plots
from study import words
from study.gains import Gain

_GREY = plots.styles(["none"])["none"]["color"]
_RING = plots.styles(["error", "ring"])["ring"]["color"]
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


def strengths(outcomes: list[Outcome], *, title: str) -> Figure:
    """Validation errors of each sweep, with the chosen strength and that of none."""
    swept = [outcome for outcome in outcomes if outcome.search.strengths]
    fixed = [outcome for outcome in outcomes if not outcome.search.strengths]
    num_columns = min(3, len(swept))
    num_rows = math.ceil(len(swept) / num_columns)
    figure = plots.new_figure(2, height=2.3 * num_rows + 0.7)
    grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    for axes, outcome in zip(grid.flat, swept, strict=False):
        _sweep(axes, outcome.search)
        if fixed:
            level = 100 * fixed[0].search.error.mean()
            axes.axhline(level, color=_GREY, ls="--", lw=1)
        axes.set_title(outcome.method.name, fontsize="small")
    for axes in grid.flat[len(swept) :]:
        axes.remove()
    means = [100 * outcome.search.error.mean(1) for outcome in outcomes]
    highest, lowest = max(map(min, means)), min(map(min, means))
    ceiling = 2 * highest - 0.5 * lowest  # what diverges must not flatten the others
    top = min(ceiling, max(map(max, means)))
    grid.flat[0].set_ylim(max(0, lowest - 0.5), top + 0.5)
    figure.suptitle(title, fontsize=10)
    figure.supylabel("validation error in percent", fontsize="medium")
    note = "ring: the chosen strength"
    if fixed:
        note = f"dashed: {fixed[0].method.name}; {note}"
    note = _with_bars(note, len(outcomes[0].search.error[0]))
    figure.supxlabel(note, fontsize="small")
    return figure


def _sweep(axes: Axes, search: Search) -> None:
    """One strength along the axis; a line for each value of another, if there is."""
    name = next((n for n in search.strengths if n != "rate"), "rate")
    others = [other for other in search.strengths if other != name]
    places = search.strengths[name]
    lines = search.strengths[others[0]] if others else np.zeros_like(places)
    series, xs = {}, None
    for value in np.unique(lines):
        rows = np.flatnonzero(lines == value)
        xs = places[rows]
        label = f"{others[0]} {value:.2g}" if others else "error"
        series[label] = 100 * search.error[rows].T
    plots.rate_sweep(xs, series, xlabel="", ylabel="", ax=axes)
    axes.set_xlabel(name.replace("_", " "), fontsize="small")
    axes.get_legend().remove()
    if others:
        for handle in axes.get_legend_handles_labels()[0]:
            if handle.get_label() not in series:  # the figure says what bars are
                handle.set_label("_bar")
        plots.add_legend(axes)
    if name != "rate":
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(xs, _apart(xs, axes.transData), rotation=45)
    axes.tick_params(labelsize="x-small")
    best = places[search.choice], 100 * search.error[search.choice].mean()
    axes.plot(*best, "o", ms=10, mfc="none", mec=_RING, mew=1.5)
    axes.grid(color="0.9", lw=0.6)
    axes.set_axisbelow(True)


def _apart(xs: np.ndarray, scale: Transform) -> list[str]:
    """Labels of ticks; nothing where one would cover the one before."""
    places = scale.transform(np.stack([xs, xs], -1))[:, 0]
    room, labels, last = 0.09 * np.ptp(places), [], -np.inf
    for x, place in zip(xs, places, strict=True):
        labels.append(f"{x:g}" if place - last >= room else "")
        last = place if labels[-1] else last
    return labels


def _with_bars(note: str, seeds: int) -> str:
    """A note that says what bars are, where there are seeds enough for them."""
    return f"{note}; bar: ± standard error over seeds" if seeds > 1 else note


def representations(outcomes: list[Outcome], *, title: str) -> Figure:
    """Four numbers from inside the networks, a row for each method."""
    figure = plots.new_figure(2, height=0.24 * len(outcomes) + 1.4)
    panels = (
        ("sparsity", 100, "activations\nthat are 0, %"),
        ("dead", 100, "dead units, %"),
        ("co_adaptation", 1, "correlation\nof two units"),
        ("weight", 1, "root mean square\nof weights"),
    )
    grid = figure.subplots(1, len(panels), sharey=True)
    names = [outcome.method.name for outcome in outcomes]
    for axes, (field, scale, label) in zip(grid, panels, strict=True):
        runs = [scale * getattr(outcome.representation, field) for outcome in outcomes]
        means = np.array([values.mean() for values in runs])
        errors = np.nan_to_num([words.standard_error(values) for values in runs])
        series = {"mean": (means, means - errors, means + errors)}
        plots.forest(names, series, xlabel=label, zero=means[0], ax=axes)
        axes.get_legend().remove()
        axes.set_xlim(left=0, right=1.15 * max(means.max(), 0.01 * scale))
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.label.set_fontsize("small")
        axes.tick_params(labelsize="small")
    figure.suptitle(title, fontsize=10)
    note = _with_bars(f"line: {names[0]}", len(outcomes[0].representation.dead))
    figure.supxlabel(note, fontsize="small")
    return figure


def rates(measured: Measured, *, title: str) -> Figure:
    """Training and test error against the rate, up to three times the least."""
    series = {
        "test": 100 * measured.errors["test"].T,
        "training": 100 * measured.errors["train"].T,
    }
    figure = plots.rate_sweep(
        measured.strengths["rate"],
        series,
        xlabel="dropout rate of hidden units",
        ylabel="error in percent",
    )
    (axes,) = figure.axes
    means = series["test"].mean(0)
    ceiling = 3 * means.min()
    beyond = ", ".join(
        f"{mean:.0f} % at {rate:.1g}"
        for rate, mean in zip(measured.strengths["rate"], means, strict=True)
        if mean > ceiling
    )
    note = f"\nbeyond the figure, test: {beyond}" if beyond else ""
    axes.set_title(title + note, fontsize=9)
    axes.set_ylim(-0.04 * ceiling, ceiling)
    return figure


def sizes(found: list[OfSize], *, title: str) -> Figure:
    """Test errors without and with dropout, and the gain, against the number."""
    numbers = np.array([one.size for one in found])
    series = {
        "none": 100 * np.stack([one.none.mean(1) for one in found], 1),
        "dropout": 100 * np.stack([one.dropout.mean(1) for one in found], 1),
    }
    figure = plots.new_figure(2, height=3.6)
    left, right = figure.subplots(1, 2)
    label = "training images"
    plots.rate_sweep(
        numbers, series, xlabel=label, ylabel="test error in percent", ax=left
    )
    means = np.array([one.none.mean() for one in found])
    gains = [one.gain for one in found]
    gain, low, high = (
        100 * np.array([getattr(each, name) for each in gains]) / means
        for name in ("estimate", "low", "high")
    )
    right.errorbar(
        numbers,
        gain,
        yerr=(gain - low, high - gain),
        capsize=3,
        label="dropout over none; bar: 95 % interval of each",
        **plots.styles(["dropout"])["dropout"],
    )
    right.set(xlabel=label, ylabel="gain, % of the error")
    right.axhline(0, color=_GREY, lw=1)
    left.set_yscale("log")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{number:g}" for number in numbers], rotation=30)
        axes.minorticks_off()
    error_ticks = [t for t in (1, 2, 3, 5, 10, 20, 30, 50) if _inside(t, left)]
    left.set_yticks(error_ticks, [str(tick) for tick in error_ticks])
    plots.add_legend(right)
    figure.suptitle(title, fontsize=10)
    return figure


def _inside(tick: float, axes: Axes) -> bool:
    low, high = axes.get_ylim()
    return low <= tick <= high
