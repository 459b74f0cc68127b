"""The figures of studies: errors against strengths, and what is inside networks."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform

from comparison.report import Outcome, Search
from comparison.sizes import OfSize
from comparison.studies import Measured
from jaxdrop import plots
from study import words

_GREY = plots.styles(["none"])["none"]["color"]
_RING = plots.styles(["error", "ring"])["ring"]["color"]


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
