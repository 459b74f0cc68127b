"""Plots of class predictions: calibration, rejection, uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxdrop import metrics
from jaxdrop._checks import as_count
from jaxdrop._errors import named
from jaxdrop._numbers import as_floats
from jaxdrop._typing import ArrayLike
from jaxdrop.plots._canvas import (
    add_legend,
    check_some,
    figure_of,
    finite,
    given_or_new,
    label_of,
    plain,
    series_name,
    sized_figure,
    styled,
)
from jaxdrop.plots._styles import GREY, style_of, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SETTLED = 0.95  # of the examples; beyond it a curve of rejection is noise
_FEWEST = 20  # remaining examples at which a curve of rejection ends
_NORMAL_95 = 1.959964


@named
def reliability_diagram(
    probs: ArrayLike | metrics.CalibrationBins | Mapping[str, Any],
    labels: ArrayLike | None = None,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Accuracy against confidence, and how many examples each bin holds.

    The bins are those of :func:`jaxdrop.metrics.expected_calibration_error`, whose
    value the legend repeats. Points on the diagonal are calibrated, points below it are
    over-confident. Each has the Wilson interval for the number of examples in its bin;
    with weights, for their effective number, ``sum(w)**2 / sum(w**2)``.

    Args:
      probs: probabilities ``(*batch, classes)``, or those of several models by name.
        Or the bins of each model, :func:`jaxdrop.metrics.calibration_bins`, for example
        sums over the batches of a test set.
      labels: the right classes ``(*batch)``, integers; None for bins.
      num_bins: how many bins of equal width ``[0, 1]`` is cut into; bins have their
        own number.
      weights: ``(*batch)``: how much each example counts.
      ax: where to draw; a new figure, with a panel for the counts, if None.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no model, shapes do not fit, labels are missing or are
        given with bins, or models have different numbers of bins.

    References:
      Guo, Pleiss, Sun, Weinberger, `On calibration of modern neural networks
      <https://arxiv.org/abs/1706.04599>`_, ICML 2017. Wilson, `Probable inference, the
      law of succession, and statistical inference
      <https://doi.org/10.1080/01621459.1927.10502953>`_, JASA 1927.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> probs = jnp.array([[0.9, 0.1], [0.6, 0.4]])
      >>> models = {"one pass": probs, "MC dropout": probs**2}
      >>> figure = plots.reliability_diagram(models, jnp.array([0, 1]), num_bins=10)
      >>> len(figure.axes)
      2
      >>> figure.axes[0].get_legend().get_texts()[1].get_text()
      'one pass, ECE 0.350'
    """
    models = list(probs.items()) if isinstance(probs, Mapping) else [(None, probs)]
    if not models:
        raise ValueError("probs must hold the probabilities of a model, got {}.")
    binned = {
        name: _bins_of(values, labels, num_bins=num_bins, weights=weights)
        for name, values in models
    }
    num_bins = _common_number(binned)
    counts = None
    if ax is not None:
        figure_of(ax)
    else:
        figure = sized_figure(4.4, 5.6)
        ax, counts = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="calibrated", zorder=1)
    found = styles([name for name in binned if name is not None])
    for name, bins in binned.items():
        style = style_of(0) if name is None else found[name]
        error = f"ECE {float(bins.expected_error):.3f}"
        _reliability(ax, bins, style, f"{label_of(name)}, {error}" if name else error)
        if counts is not None:
            share = np.asarray(bins.weight / bins.weight.sum())
            edges = np.linspace(0, 1, num_bins + 1)
            line = {key: style[key] for key in ("color", "linestyle")}
            counts.stairs(share, edges, linewidth=1.5, **line)
    note = "bar: 95 % interval (Wilson)"
    ax.errorbar([], [], yerr=[], fmt="none", ecolor=GREY, label=note)
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    (ax if counts is None else counts).set_xlabel(f"confidence ({num_bins} bins)")
    if counts is not None:
        counts.set_ylabel("share of\nexamples")
        counts.set_ylim(bottom=0)
        plain(counts)
    return add_legend(ax)


def _bins_of(
    values: Any, labels: ArrayLike | None, **options: Any
) -> metrics.CalibrationBins:
    """The bins of a model, which may be given."""
    if isinstance(values, metrics.CalibrationBins):
        for name, given in (("labels", labels), ("weights", options["weights"])):
            if given is not None:
                raise ValueError(
                    f"{name} must be None for bins, which hold the counts, got an "
                    f"array of shape {np.shape(given)}."
                )
        return metrics.CalibrationBins(*map(jnp.asarray, values))
    if labels is None:
        raise ValueError("labels must be the right classes of probs, got None.")
    return metrics.calibration_bins(values, labels, **options)


def _common_number(binned: Mapping[Any, metrics.CalibrationBins]) -> int:
    """How many bins each model has."""
    shapes = {np.shape(bins.weight) for bins in binned.values()}
    if len(shapes) > 1 or len(min(shapes)) != 1:
        raise ValueError(
            "probs must hold equally many bins, along one axis, for every model, got "
            f"the shapes {sorted(shapes)}."
        )
    return min(shapes)[0]


def _effective_counts(bins: metrics.CalibrationBins) -> np.ndarray:
    """How many examples without weights would know each accuracy as well."""
    total, squares = (
        np.asarray(sums, float) for sums in (bins.weight, bins.squared_weight)
    )
    with np.errstate(invalid="ignore"):  # of weights that are not finite
        return np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the interval of shares of so many examples."""
    square = _NORMAL_95**2 / count
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return middle - half, middle + half


def _reliability(
    ax: Axes,
    bins: metrics.CalibrationBins,
    style: dict[str, Any],
    label: str,
) -> None:
    """The filled bins of a model as points with intervals."""
    effective = _effective_counts(bins)
    filled = effective > 0
    accuracy = np.clip(np.asarray(bins.accuracy, float)[filled], 0, 1)
    low, high = _wilson(accuracy, effective[filled])
    away = np.clip([accuracy - low, high - accuracy], 0, None)
    ax.errorbar(
        np.asarray(bins.mean_confidence)[filled],
        accuracy,
        yerr=away,
        label=label,
        markersize=4,
        elinewidth=1,
        clip_on=False,
        **style,
    )


@named
def rejection_curve(
    confidence: ArrayLike | Mapping[str, ArrayLike],
    correct: ArrayLike | Mapping[str, ArrayLike],
    /,
    *,
    weights: ArrayLike | None = None,
    fewest: int | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws the accuracy that remains when the least confident examples are rejected.

    Args:
      confidence: ``(*batch)``, or several such arrays by name: higher is more certain.
      correct: ``(*batch)``: true or 1 where the prediction is right; or an array for
        each name of ``confidence``, if these are of different models.
      weights: ``(*batch)``: how much each example counts.
      fewest: curves end where fewer examples remain, whose accuracy would be noise. If
        None, 20 or a quarter of the examples, the smaller, and at least 5 percent.
      ax: where to draw; a new figure if None.

    Returns:
      The figure: one curve of :func:`jaxdrop.metrics.accuracy_rejection` for each
      confidence, between the ideal order, which rejects the wrong predictions first,
      and the expectation of a random one.

    Raises:
      ValueError: if there are no examples, shapes do not fit, or ``fewest`` is not
        positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> figure = plots.rejection_curve({"entropy": jnp.arange(4.0)}, jnp.ones(4))
      >>> figure.axes[0].get_xlabel()
      'share of examples rejected'
    """
    ax = given_or_new(ax)
    if fewest is not None:
        fewest = as_count(fewest, name="fewest")
    drawn = [_bounds(ax, correct, weights)]
    for name, values, style in styled(confidence, argument="confidence"):
        right = _of_model(correct, name)
        curve = metrics.accuracy_rejection(values, right, weights=weights)
        settled = slice(_settled(np.asarray(right).size, fewest))
        accuracy = np.asarray(curve.accuracy)[settled]
        line = {key: style[key] for key in ("color", "linestyle")}
        label = label_of("confidence" if name is None else name)
        rejected = np.asarray(curve.rejected)[settled]
        ax.plot(rejected, accuracy, linewidth=1.8, label=label, **line)
        drawn.append(accuracy)
    known = np.concatenate(drawn)
    lowest = known.min(where=np.isfinite(known), initial=1)
    room = 0.05 * (1 - lowest) + 0.005
    ax.set(xlabel="share of examples rejected", ylabel="accuracy of the others")
    ax.set(xlim=(0, 1), ylim=(lowest - room, 1 + room))
    return add_legend(ax)


def _of_model(
    correct: ArrayLike | Mapping[str, ArrayLike], name: str | None
) -> ArrayLike:
    if not isinstance(correct, Mapping):
        return correct
    if name is None or name not in correct:
        raise ValueError(
            "correct must hold an array for each name of confidence, got "
            f"{list(correct)} without {name!r}."
        )
    return correct[name]


def _bounds(
    ax: Axes,
    correct: ArrayLike | Mapping[str, ArrayLike],
    weights: ArrayLike | None,
) -> np.ndarray:
    """Draws the ideal and the random order, of each model in its colour if several."""
    drawn = []
    for name, right, style in styled(correct, argument="correct"):
        check_some(right, name=series_name("correct", name))
        ideal = metrics.accuracy_rejection(right, right, weights=weights)
        accuracy = np.asarray(ideal.accuracy)
        thin: dict[str, Any] = {"color": style["color"] if name else GREY}
        thin |= {"linewidth": 1, "zorder": 1}
        ax.plot(np.asarray(ideal.rejected), accuracy, linestyle="--", **thin)
        ax.axhline(accuracy[0], linestyle=":", **thin)
        drawn.append(accuracy)
    for label, line in (("ideal", "--"), ("random", ":")):
        ax.plot([], [], color=GREY, linewidth=1, linestyle=line, label=label)
    return np.concatenate(drawn)


def _settled(size: int, fewest: int | None) -> int:
    """How many points of a curve are of enough examples."""
    if fewest is None:
        fewest = int(max(min(_FEWEST, size // 4), (1 - _SETTLED) * size, 1))
    return max(1, size - fewest + 1)


@named
def uncertainty_histogram(
    groups: ArrayLike | Mapping[str, ArrayLike],
    /,
    *,
    num_bins: int = 40,
    xlabel: str = "uncertainty",
    xlim: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """How an uncertainty is distributed in several groups of examples.

    Args:
      groups: the uncertainties of each group by name, for example of inputs that are in
        and out of distribution, or of right and wrong predictions; of any numbers.
      num_bins: how many bins, the same for all groups.
      xlabel: the name of the uncertainty, with its unit.
      xlim: the ends of the axis. If None, everything is shown except outliers: numbers
        that lie farther outside the middle 90 percent of every group than these are
        wide. The legend says how many of a group are left out.
      ax: where to draw; a new figure if None.

    Returns:
      The figure: the share of each group in each bin, so that large and small groups
      can be compared.

    Raises:
      ValueError: if there is no group, ``num_bins`` is not positive, or ``xlim`` does
        not increase.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> groups = {"right": jnp.zeros(5), "wrong": jnp.ones(3)}
      >>> figure = plots.uncertainty_histogram(groups, xlabel="entropy in nats")
      >>> figure.axes[0].get_ylabel()
      'share of the group'
    """
    ax = given_or_new(ax)
    series = styled(groups, argument="groups")
    num_bins = as_count(num_bins, name="num_bins")
    low, high = _limits([values for _, values, _ in series])
    if xlim is not None:
        low, high = _ends(xlim)
    edges = np.linspace(low, high, num_bins + 1)
    for name, values, style in series:
        inside = np.histogram(values, edges)[0]
        share = inside / max(1, values.size)
        outside = int(((values < low) | (values > high)).sum())
        note = f"{values.size:,}" + (f", {outside:,} outside" if outside else "")
        line = {key: style[key] for key in ("color", "linestyle")}
        ax.stairs(share, edges, color=style["color"], alpha=0.2, fill=True)
        label = f"{label_of(name)} ({note})" if name else note if outside else None
        ax.stairs(share, edges, linewidth=1.5, label=label, **line)
    ax.set(xlabel=xlabel, ylabel="share of the group", xlim=(low, high))
    ax.set_ylim(bottom=0)
    return add_legend(ax)


def _ends(xlim: tuple[float, float]) -> tuple[float, float]:
    """The ends of an axis that were given, or an error."""
    ends = as_floats(xlim, name="xlim")
    if ends.shape != (2,) or not ends[0] < ends[1]:
        raise ValueError(f"xlim must be (low, high) with low < high, got {xlim}.")
    low, high = (finite(end, name="xlim") for end in ends)
    return low, high


def _limits(groups: list[np.ndarray]) -> tuple[float, float]:
    """The ends of an axis that shows all groups except their outliers."""
    known = [values[np.isfinite(values)] for values in groups]
    known = [values for values in known if values.size]
    if not known:
        return 0.0, 1.0
    least, most = (float(f(list(map(f, known)))) for f in (np.min, np.max))
    lows = [np.quantile(values, 0.05, method="higher") for values in known]
    highs = [np.quantile(values, 0.95, method="lower") for values in known]
    spreads = [max(0.0, high - low) for low, high in zip(lows, highs, strict=True)]
    low = min(a - spread for a, spread in zip(lows, spreads, strict=True))
    high = max(a + spread for a, spread in zip(highs, spreads, strict=True))
    if low < high:
        least, most = max(least, float(low)), min(most, float(high))
    return least, most if most > least else least + max(1.0, abs(least))
