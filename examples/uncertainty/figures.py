"""Four views of the answers of one network, by one pass and by samples."""

import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxdrop import plots
from uncertainty.answers import Answers

WEIGHT_SCALING, MC_DROPOUT = "weight scaling", "MC dropout"


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
    figure = plots.new_figure(2, height=7.4)
    by_count, reliability, rejection, entropies = figure.subplots(2, 2).flat
    wrong = answers[WEIGHT_SCALING][0].probs.argmax(-1) != labels
    _errors(by_count, errors, float(wrong.mean()))
    probs = {name: known.probs for name, (known, _) in answers.items()}
    plots.reliability_diagram(probs, labels, num_bins=10, ax=reliability)
    reliability.set_title("Calibration")
    _rejection(rejection, answers, labels)
    groups = {
        f"{name}, {images}": np.asarray(given.entropy)
        for name, both in answers.items()
        for images, given in zip(("test", "strange"), both, strict=True)
    }
    plots.uncertainty_histogram(
        groups, num_bins=25, xlabel="entropy, nats", ax=entropies
    )
    entropies.set_title("Strange images")
    figure.suptitle(title, fontsize=11)
    return figure


def _errors(axes: Axes, errors: dict[int, Array], scaled: float) -> None:
    """The test error by the number of samples, beside that of one pass."""
    counts = np.array(list(errors))
    table = 100 * np.stack([np.asarray(errors[count]) for count in counts], axis=-1)
    series = {WEIGHT_SCALING: np.full(len(counts), 100 * scaled), MC_DROPOUT: table}
    plots.rate_sweep(counts, series, xlabel="samples", ylabel="test error, %", ax=axes)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_title("Averaging samples")


def _rejection(
    axes: Axes, answers: dict[str, tuple[Answers, Answers]], labels: np.ndarray
) -> None:
    """Each way to ask is right about other images, and so has its own ideal order."""
    plots.rejection_curve(
        {name: -np.asarray(known.entropy) for name, (known, _) in answers.items()},
        {
            name: np.asarray(known.probs).argmax(-1) == labels
            for name, (known, _) in answers.items()
        },
        ax=axes,
    )
    axes.set_title("Rejection")
