"""Four views of the answers of one network, by one pass and by samples."""

import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxdrop import metrics
from uncertainty.answers import Answers

WEIGHT_SCALING, MC_DROPOUT = "weight scaling", "MC dropout"
_COLORS = {WEIGHT_SCALING: "#0072B2", MC_DROPOUT: "#D55E00"}


def draw(
    answers: dict[str, tuple[Answers, Answers]],
    labels: np.ndarray,
    errors: dict[int, Array],
    title: str,
) -> Figure:
    """Draws the four panels.

    Args:
      answers: for each way to ask, those of the test images and of strange images.
      labels: ``(images,)``: the classes of the test images.
      errors: by number of samples, ``(repeats,)``: the share of wrong classes.
      title: what stands above.

    Returns:
      The figure.
    """
    figure = Figure(figsize=(9.5, 7), layout="constrained")
    by_count, reliability, rejection, entropies = figure.subplots(2, 2).flat
    wrong = answers[WEIGHT_SCALING][0].probs.argmax(-1) != labels
    _errors(by_count, errors, float(wrong.mean()))
    reliability.plot([0, 1], [0, 1], color="0.6", lw=1)
    for name, (known, _) in answers.items():
        bins = metrics.calibration_bins(known.probs, labels, num_bins=10)
        there = np.asarray(bins.weight) >= 5  # with fewer, a bin shows only chance
        reliability.plot(
            np.asarray(bins.mean_confidence)[there],
            np.asarray(bins.accuracy)[there],
            "o-",
            color=_COLORS[name],
            ms=4,
            label=name,
        )
        right = known.probs.argmax(-1) == labels
        curve = metrics.accuracy_rejection(-known.entropy, right)
        shown = np.asarray(curve.rejected) <= 0.5
        rejection.plot(
            100 * np.asarray(curve.rejected)[shown],
            100 * np.asarray(curve.accuracy)[shown],
            color=_COLORS[name],
        )
    reliability.set(xlabel="confidence", ylabel="accuracy", title="Calibration")
    reliability.legend(fontsize=8)
    rejection.set(
        xlabel="% of images rejected, most uncertain first",
        ylabel="accuracy % on the others",
        title="Rejection",
    )
    _entropies(entropies, answers)
    for axes in figure.axes:
        axes.grid(color="0.9", lw=0.6)
        axes.set_axisbelow(True)
    figure.suptitle(title, fontsize=11)
    return figure


def _errors(axes: Axes, errors: dict[int, Array], scaled: float) -> None:
    counts = list(errors)
    table = 100 * np.array([errors[count] for count in counts])
    spread = table.std(1, ddof=1) if table.shape[1] > 1 else None
    axes.axhline(100 * scaled, color=_COLORS[WEIGHT_SCALING], label=WEIGHT_SCALING)
    axes.errorbar(
        counts,
        table.mean(1),
        spread,
        fmt="o-",
        ms=4,
        capsize=3,
        color=_COLORS[MC_DROPOUT],
        label=f"{MC_DROPOUT}, ± standard deviation",
    )
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="samples", ylabel="test error %", title="Averaging samples")
    axes.legend(fontsize=8)


def _entropies(axes: Axes, answers: dict[str, tuple[Answers, Answers]]) -> None:
    for name, both in answers.items():
        for given, style in zip(both, ("-", "--"), strict=True):
            entropy = np.sort(np.asarray(given.entropy))
            share = np.arange(1, len(entropy) + 1) / len(entropy)
            label = f"{name}, {'test' if style == '-' else 'strange'} images"
            axes.plot(entropy, share, style, color=_COLORS[name], label=label)
    axes.set(xlabel="entropy, nats", ylabel="share of images", title="Strange images")
    axes.legend(fontsize=8)
