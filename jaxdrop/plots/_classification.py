"""Plots of class predictions: calibration, rejection, uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from jaxdrop import metrics
from jaxdrop._checks import as_count
from jaxdrop.plots._canvas import (
    BLUE,
    GREY,
    RED,
    check_some,
    color_of,
    figure_of,
    finished,
    named,
    new_axes,
    new_figure,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SETTLED = 0.95  # beyond this a rejection curve is of few examples, and only noise


def reliability_diagram(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Accuracy against confidence, and how many examples each bin holds.

    The bins are those of :func:`jaxdrop.metrics.expected_calibration_error`, and its
    value is written into the plot. Bars should end on the diagonal; red is how far they
    are off it, from the accuracy of a bin to its mean confidence.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the right classes ``(*batch)``, integers.
      num_bins: how many bins of equal width ``[0, 1]`` is cut into.
      weights: ``(*batch)``: how much each example counts.
      ax: where to draw; a new figure, with a panel for the counts, if None.

    Returns:
      The figure.

    References:
      Guo, Pleiss, Sun, Weinberger, `On calibration of modern neural networks
      <https://arxiv.org/abs/1706.04599>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> probs = jnp.array([[0.9, 0.1], [0.6, 0.4]])
      >>> figure = plots.reliability_diagram(probs, jnp.array([0, 1]))
      >>> len(figure.axes)
      2
    """
    bins = metrics.calibration_bins(probs, labels, num_bins=num_bins, weights=weights)
    share = np.asarray(bins.weight / bins.weight.sum())
    filled = share > 0
    accuracy, confidence = (
        np.asarray(v)[filled] for v in (bins.accuracy, bins.mean_confidence)
    )
    lefts = np.arange(num_bins)[filled] / num_bins
    shape: dict[str, Any] = {"width": 1 / num_bins, "align": "edge", "linewidth": 0.8}
    if ax is None:
        rows = new_figure((4.2, 5.0)).subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        ax, counts = rows
        counts.bar(lefts, share[filled], color=GREY, edgecolor="white", **shape)
        counts.set(xlabel="confidence", ylabel="share of\nexamples")
        plain(counts)
    else:
        ax.set_xlabel("confidence")
    gap = confidence - accuracy
    ax.bar(lefts, accuracy, color=BLUE, edgecolor="white", label="accuracy", **shape)
    pale: dict[str, Any] = {"facecolor": (*_rgb(RED), 0.35), "edgecolor": RED}
    ax.bar(lefts, gap, bottom=accuracy, label="gap", **pale, **shape)
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    error = float(bins.expected_error)
    ax.set_title(f"ECE {error:.3f} ({num_bins} bins)", fontsize="medium", loc="left")
    plain(ax)
    ax.legend(loc="upper left", frameon=False)
    return figure_of(ax)


def rejection_curve(
    confidence: ArrayLike | Mapping[str, ArrayLike],
    correct: ArrayLike,
    /,
    *,
    weights: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws the accuracy that remains when the least confident examples are rejected.

    Args:
      confidence: ``(*batch)``, or several such arrays by name: higher is more certain.
      correct: ``(*batch)``: true or 1 where the prediction is right.
      weights: ``(*batch)``: how much each example counts.
      ax: where to draw; a new figure if None.

    Returns:
      The figure: one curve of :func:`jaxdrop.metrics.accuracy_rejection` for each
      confidence, beside the best order there is and the accuracy on everything.

    Raises:
      ValueError: if there are no examples, or shapes do not fit.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> figure = plots.rejection_curve({"entropy": jnp.arange(4.0)}, jnp.ones(4))
      >>> figure.axes[0].get_xlabel()
      'rejected'
    """
    ax = ax or new_axes()
    check_some(np.asarray(correct), name="correct")

    def draw(values: np.ndarray, **style: Any) -> np.ndarray:
        found = metrics.accuracy_rejection(values, correct, weights=weights)
        rejected, accuracy = np.asarray(found.rejected), np.asarray(found.accuracy)
        ax.plot(rejected, accuracy, **style)
        return accuracy[rejected <= _SETTLED]

    best: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1}
    seen = [draw(np.asarray(correct), label="best order", **best)]
    for index, (name, values) in enumerate(named(confidence)):
        seen.append(draw(values, color=color_of(index), linewidth=1.8, label=name))
    whole, known = seen[0][0], np.concatenate(seen)
    lowest = known.min(where=np.isfinite(known), initial=1)
    ax.axhline(whole, color=GREY, linewidth=1, linestyle=":", label="nothing rejected")
    ax.set(xlim=(0, 1), xlabel="rejected", ylabel="accuracy of the rest")
    ax.set_ylim(lowest - 0.05 * (1 - lowest) - 0.005, 1.005 + 0.02 * (1 - lowest))
    return finished(ax)


def uncertainty_histogram(
    groups: ArrayLike | Mapping[str, ArrayLike],
    /,
    *,
    num_bins: int = 40,
    xlabel: str = "uncertainty",
    ax: Axes | None = None,
) -> Figure:
    """How an uncertainty is distributed in several groups of examples.

    Args:
      groups: the uncertainties of each group by name, for example of inputs that are in
        and out of distribution, or of right and wrong predictions; of any numbers.
      num_bins: how many bins, the same for all groups.
      xlabel: the name of the uncertainty, with its unit.
      ax: where to draw; a new figure if None.

    Returns:
      The figure: the share of each group in each bin, so that large and small groups
      can be compared.

    Raises:
      ValueError: if there is no group, or ``num_bins`` is not positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> groups = {"right": jnp.zeros(5), "wrong": jnp.ones(3)}
      >>> figure = plots.uncertainty_histogram(groups, xlabel="entropy in nats")
      >>> figure.axes[0].get_ylabel()
      'share of the group'
    """
    ax = ax or new_axes()
    series = [(name, values.ravel()) for name, values in named(groups)]
    if not series:
        raise ValueError("groups must hold at least one group, got {}.")
    num_bins = as_count(num_bins, name="num_bins")
    finite = np.concatenate([values[np.isfinite(values)] for _, values in series])
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, num_bins + 1)
    for index, (name, values) in enumerate(series):
        share = np.histogram(values, edges)[0] / max(1, values.size)
        label = f"{name} ({values.size:,})" if name else None
        color = color_of(index)
        ax.stairs(share, edges, color=color, alpha=0.25, fill=True)
        ax.stairs(share, edges, color=color, linewidth=1.5, label=label)
    ax.set(xlabel=xlabel, ylabel="share of the group", xlim=(edges[0], edges[-1]))
    ax.set_ylim(bottom=0)
    return finished(ax)


def _rgb(color: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)
