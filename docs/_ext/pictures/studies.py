"""Pictures of studies on the page of results, from the files in ``docs/measured``."""

import numpy as np
from matplotlib.figure import Figure

from jaxdrop import plots
from pictures.canvas import GREY, canvas
from pictures.home import read


def size() -> Figure:
    """Errors without and with dropout, and the gain, by the number of images."""
    found = read("studies/size")["results"]
    numbers = np.array([one["size"] for one in found])
    series = {
        name: np.array([one[name]["test_error"] for one in found]).T * 100
        for name in ("none", "dropout")
    }
    figure, axes = canvas(2, size=(3.9, 3.2))
    errors, gains = axes[0]
    plots.rate_sweep(
        numbers,
        series,
        xlabel="training images",
        ylabel="test error in percent",
        ax=errors,
    )
    gain, low, high = (
        np.array([100 * one["gain"][name] for one in found])
        for name in ("estimate", "low", "high")
    )
    style = plots.styles(["none", "dropout"])["dropout"]
    gains.errorbar(
        numbers,
        gain,
        yerr=(gain - low, high - gain),
        capsize=3,
        label="dropout over none; bar: 95 % interval of each",
        **style,
    )
    gains.axhline(0, color=GREY, lw=1)
    gains.set(xlabel="training images", ylabel="gain in points")
    plots.add_legend(gains)
    for ax in (errors, gains):
        ax.set_xscale("log")
        ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
        ax.minorticks_off()
    errors.set_yscale("log")
    ticks = (2, 5, 10, 20, 30)
    errors.set_yticks(ticks, [str(tick) for tick in ticks])
    errors.minorticks_off()
    return figure
