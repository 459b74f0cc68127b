"""What each method gains over none, with an interval over seeds and test images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from comparison.report import WEIGHT_SCALING, Outcome
from data import replacing

_RESAMPLES = 20_000


class Gain(NamedTuple):
    """Test error minus that of the first method, in percentage points.

    Attributes:
      name: the method.
      difference: the mean over seeds and test images; below 0 the method is better.
      low: the lower end of the interval.
      high: the upper end.
    """

    name: str
    difference: float
    low: float
    high: float


def gains(outcomes: Sequence[Outcome], *, level: float = 0.95) -> list[Gain]:
    """Compares all methods with the first one, on the same seeds and test images.

    Intervals cover the choice of seeds and of test images: both are resampled, as in
    the pigeonhole bootstrap (Owen, 2007, https://doi.org/10.1214/07-AOAS122), which is
    conservative. All of them hold together with probability ``level`` (Bonferroni).
    """
    wrong = [np.asarray(o.scores[WEIGHT_SCALING].wrong, float) for o in outcomes]
    num_seeds, num_images = wrong[0].shape
    rng = np.random.default_rng(0)
    seeds = rng.multinomial(num_seeds, [1 / num_seeds] * num_seeds, _RESAMPLES)
    images = rng.multinomial(num_images, [1 / num_images] * num_images, _RESAMPLES)
    tail = (1 - level) / 2 / max(len(outcomes) - 1, 1)
    found = []
    for outcome, errors in zip(outcomes[1:], wrong[1:], strict=True):
        paired = 100 * (errors - wrong[0])
        sums = np.einsum("rs,sn,rn->r", seeds, paired, images, optimize=True)
        means = sums / (num_seeds * num_images)
        low, high = np.quantile(means, (tail, 1 - tail))
        found.append(Gain(outcome.method.name, paired.mean(), low, high))
    return found


def write_json(path: Path, found: Sequence[Gain], *, title: str) -> None:
    """Writes what :func:`figure` draws."""
    axis = "test error minus that of none, percentage points"
    rows = [
        {key: round(v, 4) if key != "name" else v for key, v in gain._asdict().items()}
        for gain in found
    ]
    content = {"title": title, "axis": axis, "methods": rows}
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def figure(found: Sequence[Gain], *, title: str) -> Figure:
    """A point and an interval for each method, the best at the top."""
    rows = sorted(found, key=lambda gain: gain.difference)
    drawn = Figure(figsize=(7, 0.35 * len(rows) + 1.2), layout="constrained")
    axes = drawn.add_subplot()
    places = np.arange(len(rows))[::-1]
    for place, gain in zip(places, rows, strict=True):
        colour = "#1f5f9e" if gain.high < 0 else "#7a7a7a"
        axes.plot([gain.low, gain.high], [place, place], color=colour, lw=2)
        axes.plot(gain.difference, place, "o", color=colour)
    axes.axvline(0, color="#c8442c", lw=1)
    axes.set_yticks(places, [gain.name for gain in rows])
    axes.set_xlabel("test error minus that of none, percentage points")
    axes.set_title(title)
    return drawn
