"""The two pictures of the first page, from the files in ``docs/measured``."""

import json
import pathlib
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxdrop import plots
from pictures.canvas import GREY, KEPT, OTHER, canvas

MEASURED = pathlib.Path(__file__).parents[2] / "measured"
FLOOR = "x * c"
QUARTILES = ("low", "median", "high")
OURS = {"jaxdrop": "jaxdrop", "light": "jaxdrop, light generator"}
WAYS = ("weight scaling", "MC dropout")
SCORES = ("error", "NLL")


def read(name: str) -> dict[str, Any]:
    """The content of one of the files."""
    return json.loads((MEASURED / f"{name}.json").read_text())


def home_gains() -> Figure:
    """What each method gains over the baseline, and the time it takes."""
    found = read("gains")
    rows = found["methods"]
    names = [row["name"] for row in rows]
    figure = plots.new_figure(2, height=0.3 * len(rows) + 2.3)
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(4, 4, 2))
    interval = f"{100 * found['level']:g} % interval"
    for ax, score in zip(panels, SCORES, strict=False):
        series = {way: _columns(rows, way, score) for way in WAYS}
        label = f"gain in {score}, {found['units'][score]}\n(right is better)"
        plots.forest(names, series, xlabel=label, interval=interval, ax=ax)
    panels[1].get_legend().remove()  # it repeats that of the first panel
    seconds = {row["name"]: row["seconds"] for row in rows}
    times = np.array(list(seconds.values())) / seconds[found["baseline"]]
    panels[2].barh(np.arange(len(rows)), times, color=GREY, height=0.6)
    panels[2].set_xlabel(f"training time\n({found['baseline']} is 1)")
    for ax in panels:
        ax.tick_params(labelsize=8)
    title = f"{found['title']}, gain over {found['baseline']}"
    figure.suptitle(title, fontsize=10)
    _sign(panels[0], found)
    return figure


def _columns(
    rows: list[dict[str, Any]], way: str, score: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gains with the ends of their intervals; NaN where a method has none."""
    cells = [row.get(way, {}).get(score, {}) for row in rows]
    gain, low, high = (
        np.array([cell.get(key, np.nan) for cell in cells], float)
        for key in ("gain", "low", "high")
    )
    return gain, low, high


def home_time() -> Figure:
    """Time of each library over that of reading and writing the data once."""
    found = read("dropout")
    shape = next(iter(found["run"])).rsplit(", ", 1)[1]
    passes = ("forward", "forward + backward")
    figure, axes = canvas(1, 2, size=(5.4, 2.4))
    for ax, name in zip(axes[:, 0], passes, strict=True):
        _bars(ax, found["run"][f"{name}, float32, {shape}"])
        ax.set_title(f"{name}, float32, {shape.replace('x', ' × ')}")
    axes[0, 0].set_xlabel("")
    _sign(axes[0, 0], found)
    return figure


def _bars(ax: Axes, timings: dict[str, dict[str, float]]) -> None:
    """A bar for each library, in the order of the file; quartiles as a line."""
    floor = timings[FLOOR]["median"]
    names = [name for name in timings if name != FLOOR]
    places = np.arange(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        low, middle, high = (timings[name][key] / floor for key in QUARTILES)
        ax.barh(place, middle, color=KEPT if name in OURS else GREY, height=0.65)
        ax.plot([low, high], [place, place], color=OTHER, lw=1.5)
        ax.text(max(middle, high), place, f"  {middle:.1f}", va="center", fontsize=8)
    ax.axvline(1, color=OTHER, lw=1, ls=":")
    ax.set_yticks(places, [OURS.get(name, name) for name in names])
    ax.set_xlabel("times x * c (dotted); line: quartiles")
    ax.margins(x=0.12)


def _sign(ax: Axes, found: dict[str, Any]) -> None:
    """Says below an axis how its numbers were measured."""
    text = f"{found['command']}\n{found['machine']}; {found['versions']}"
    ax.figure.supxlabel(text, fontsize=7, x=0.01, ha="left")
