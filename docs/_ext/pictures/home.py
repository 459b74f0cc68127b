"""The two pictures of the first page, from the files of measured results."""

import json
import pathlib

import numpy as np
from matplotlib.figure import Figure

from pictures.canvas import GREY, KEPT, OTHER, canvas

MEASURED = pathlib.Path(__file__).parents[2] / "measured"


def home_gain() -> Figure:
    """Test error of each method minus that of none, with intervals."""
    found = json.loads((MEASURED / "gain.json").read_text())
    rows = sorted(found["methods"], key=lambda row: row["difference"])
    figure, axes = canvas(1, size=(7.0, 0.32 * len(rows) + 1.0))
    ax, places = axes[0, 0], np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        better = row["high"] < 0
        colour = KEPT if better else GREY
        ax.plot([row["low"], row["high"]], [place, place], color=colour, lw=2)
        ax.plot(row["difference"], place, "o", color=colour, ms=5)
    ax.axvline(0, color=OTHER, lw=1)
    ax.set_yticks(places, [row["name"] for row in rows])
    ax.set_xlabel(found["axis"])
    ax.set_title(found["title"])
    return figure


def home_time() -> Figure:
    """Time of each library over that of ``x * c``, forward and backward."""
    found = json.loads((MEASURED / "time.json").read_text())
    rows = sorted(found["libraries"], key=lambda row: row["ratio"])
    figure, axes = canvas(1, size=(7.0, 0.34 * len(rows) + 1.0))
    ax, places = axes[0, 0], np.arange(len(rows))[::-1]
    ours = [row["name"].startswith("jaxdrop") for row in rows]
    ratios = [row["ratio"] for row in rows]
    ax.barh(places, ratios, color=[KEPT if mine else GREY for mine in ours])
    for place, ratio in zip(places, ratios, strict=True):
        ax.text(ratio, place, f" {ratio:.1f}", va="center", fontsize=8)
    ax.axvline(1, color=OTHER, lw=1)
    ax.set_yticks(places, [row["name"] for row in rows])
    ax.set_xlabel(found["axis"])
    ax.set_title(found["title"])
    return figure


DRAWINGS = {"home_gain": home_gain, "home_time": home_time}
