"""The two pictures of the first page, from the files in ``docs/measured``."""

import json
import pathlib
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pictures.canvas import GREY, KEPT, OTHER, canvas

MEASURED = pathlib.Path(__file__).parents[2] / "measured"
FLOOR = "x * c"
QUARTILES = ("low", "median", "high")
OURS = {"jaxdrop": "jaxdrop", "light": "jaxdrop, light generator"}


def read(name: str) -> dict[str, Any]:
    """The content of one of the files."""
    return json.loads((MEASURED / f"{name}.json").read_text())


def home_gains() -> Figure:
    """What each method changes in the test error, with its interval."""
    found = read("gains")
    rows = sorted(found["methods"], key=lambda row: row["difference"])
    figure, axes = canvas(1, size=(5.4, 0.27 * len(rows) + 1.1))
    ax, places = axes[0, 0], np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        colour = KEPT if row["high"] < 0 else OTHER if row["low"] > 0 else GREY
        ax.plot([row["low"], row["high"]], [place, place], color=colour, lw=2)
        ax.plot(row["difference"], place, "o", color=colour, ms=5)
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set_yticks(places, [row["name"] for row in rows])
    ax.set_xlabel(f"{found['axis']}\n(left is better)")
    ax.set_title(found["title"])
    _sign(ax, found)
    return figure


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
    ax.set_xlabel("times x * c (dotted)")
    ax.margins(x=0.12)


def _sign(ax: Axes, found: dict[str, Any]) -> None:
    """Says below an axis how its numbers were measured."""
    text = f"{found['command']}\n{found['machine']}; {found['versions']}"
    ax.figure.supxlabel(text, fontsize=7, x=0.01, ha="left")


DRAWINGS = {"home_gains": home_gains, "home_time": home_time}
