"""The figure: what two networks say of times after the data."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxdrop import plots

_VALUES = {
    "co2": "CO₂ over Mauna Loa, standardized",
    "made-up": "value, standardized",
}


class Answer(NamedTuple):
    """What a network says of times.

    Attributes:
      mean: ``(times,)``: of the samples.
      std: their standard deviation, likewise.
      draws: ``(samples, times)``: a few of them.
    """

    mean: np.ndarray
    std: np.ndarray
    draws: np.ndarray


def draw(
    answers: dict[str, Answer],
    grid: np.ndarray,
    series: tuple[np.ndarray, np.ndarray],
    *,
    dataset: str,
) -> Figure:
    """Draws a panel for each network.

    Args:
      answers: by the name of the network.
      grid: ``(times,)``: what was asked about.
      series: times and values that were observed.
      dataset: ``"co2"`` or ``"made-up"``.

    Returns:
      The figure.
    """
    times, values = series
    end = times.max()
    unit, label = time_unit(dataset, times)
    figure = plots.new_figure(2, height=3.6)
    panels = figure.subplots(1, len(answers), sharey=True)
    for axes, (name, answer) in zip(panels, answers.items(), strict=True):
        plots.predictive_band(
            (grid - end) / unit,
            answer.mean,
            answer.std,
            observed=((times - end) / unit, values),
            samples=answer.draws,
            ax=axes,
        )
        axes.set(title=name, xlabel=label, ylabel="")
        axes.axvline(0, color="0.5", ls=":", lw=1)
        axes.get_legend().remove()
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        *(handles, names),
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        fontsize="small",
    )
    panels[0].set_ylabel(_VALUES[dataset])
    return figure


def time_unit(dataset: str, times: np.ndarray) -> tuple[float, str]:
    """A unit in which times are shown, and the name of the axis."""
    if dataset == "co2":  # one observation a month
        return 12 * float(np.median(np.diff(times))), "years after the last observation"
    return 1.0, "time after the last observation"
