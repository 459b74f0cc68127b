"""Plots of curves: predictions over inputs, losses over steps, results over rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxdrop._checks import check_choice, check_switch
from jaxdrop._errors import named
from jaxdrop._typing import ArrayLike
from jaxdrop.plots._canvas import (
    add_legend,
    as_rows,
    by_name,
    check_some,
    drawable,
    ends,
    finite,
    given_or_new,
    label_of,
    mean_and_error,
    series_name,
    set_ticks,
    styled,
)
from jaxdrop.plots._styles import BLUE, GREY, as_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = 6  # on a curve, beside its line style


@named
def predictive_band(
    x: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike | Mapping[str, ArrayLike],
    /,
    *,
    width: float = 2.0,
    observed: tuple[ArrayLike, ArrayLike] | None = None,
    samples: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A predicted curve with bands of its standard deviation.

    Args:
      x: the inputs ``(N,)``, in any order.
      mean: the predicted means ``(N,)``.
      std: the predicted standard deviations ``(N,)``, or several by name, for example
        ``{"total": ..., "epistemic": ...}``.
      width: how many standard deviations a band reaches to each side.
      observed: the inputs and targets of observations, drawn as points.
      samples: ``(S, N)``: sampled functions, drawn as thin lines; those of
        ``mc.samples(..., draws="shared")`` are smooth.
      ax: where to draw; a new figure if None.

    Returns:
      The figure.

    Raises:
      ValueError: if shapes do not fit, or ``x`` is empty or not finite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> x = jnp.linspace(0, 1, 5)
      >>> figure = plots.predictive_band(x, x, 0.1 * x, observed=(x[:2], x[:2]))
      >>> len(figure.axes[0].collections)  # the band and the points
      2
    """
    ax = given_or_new(ax)
    width = finite(width, name="width")
    places = _places(x)
    order = np.argsort(places.ravel())
    inputs = places.ravel()[order]
    center = _flat(mean, inputs.size, name="mean")[order]
    spreads = {
        name: _flat(spread, inputs.size, name=series_name("std", name))[order]
        for name, spread in by_name(std, argument="std")
    }
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite and huge numbers
        reaches = {name: width * spread for name, spread in spreads.items()}
    widest_first = sorted(reaches, key=lambda name: -np.nansum(reaches[name]))
    for name, reach in reaches.items():
        label = f"±{width:g} std" + (f", {name}" if name else "")
        rank = widest_first.index(name) + 1
        style: dict[str, Any] = {"color": _tint(rank / (len(reaches) + 1))}
        style |= {"zorder": 1 + rank / 10, "linewidth": 0, "label": label}
        ax.fill_between(inputs, *ends(center, reach), **style)
    if samples is not None:
        for number, row in enumerate(_functions(samples, places.shape)):
            label = "_samples" if number else "samples"
            ax.plot(inputs, row[order], color=GREY, linewidth=0.7, label=label)
    ax.plot(inputs, center, color=BLUE, linewidth=1.8, label="mean")
    if observed is not None:
        pair = as_list(observed)
        if pair is None or len(pair) != 2:
            raise ValueError(f"observed must be (inputs, targets), got {observed!r}.")
        at = drawable(pair[0], name="inputs observed")
        values = _flat(pair[1], at.size, name="targets observed")
        area = float(np.clip(800 / max(1, at.size), 2, 12))  # many stay separate
        style = {"s": area, "color": "black", "zorder": 1.9, "label": "observed"}
        ax.scatter(at, values, **style)
    ax.set(xlabel="x", ylabel="y")
    if inputs[0] < inputs[-1]:
        ax.set(xlim=(inputs[0], inputs[-1]))
    return add_legend(ax)


@named
def learning_curves(
    history: Mapping[str, ArrayLike],
    /,
    *,
    steps: ArrayLike | None = None,
    xlabel: str = "epoch",
    ylabel: str = "loss",
    log: bool = False,
    band: Literal["range", "standard error"] = "range",
    ax: Axes | None = None,
) -> Figure:
    """Losses, or any other measures, over training.

    Args:
      history: a series ``(S,)`` for each name, or ``(runs, S)``: the mean over runs,
        with a band, whose meaning the legend repeats.
      steps: ``(S,)``: where the values belong; 1, 2, … if None.
      xlabel: the name of the steps.
      ylabel: the name of the values, with their unit.
      log: draw the values on a logarithmic scale.
      band: from the lowest to the highest run, or a standard error to each side.
      ax: where to draw; a new figure if None.

    Returns:
      The figure.

    Raises:
      ValueError: if shapes do not fit, or ``band`` is not one of the two.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> history = {"training": jnp.array([2.0, 1.0]), "test": jnp.ones((3, 2))}
      >>> figure = plots.learning_curves(history)
      >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
      ['training', 'test', 'band: range of 3 runs']
    """
    check_choice(band, ("range", "standard error"), name="band")
    log = check_switch(log, name="log")
    ax = given_or_new(ax)
    counts = set()
    numbered = () if steps is None else _series(steps, name="steps")
    for name, values, style in styled(history, argument="history"):
        length = None if steps is None else len(numbered)
        runs = as_rows(values, length, name=series_name("history", name))
        places = np.arange(1, runs.shape[1] + 1) if steps is None else numbered
        every = max(1, -(-runs.shape[1] // _MARKS))
        shown: dict[str, Any] = {"markersize": 4, "markevery": every} | style
        mean, error = mean_and_error(runs)
        ax.plot(places, mean, label=label_of(name), **shown)
        if error is not None:
            low, high = runs.min(0), runs.max(0)
            if band == "standard error":
                low, high = ends(mean, error)
            color = style["color"]
            ax.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
            counts.add(len(runs))
    if counts:
        meaning = "range" if band == "range" else "± standard error"
        label = f"band: {meaning} of {_numbers(counts)} runs"
        ax.fill_between([], [], [], color=GREY, alpha=0.3, linewidth=0, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    set_ticks(ax, integer=True)
    return add_legend(ax)


@named
def rate_sweep(
    rates: ArrayLike,
    values: ArrayLike | Mapping[str, ArrayLike],
    /,
    *,
    xlabel: str = "dropout rate",
    ylabel: str = "test error",
    ax: Axes | None = None,
) -> Figure:
    """A measure against the rate it was reached with.

    Args:
      rates: the rates ``(R,)``.
      values: the measure at each rate, ``(R,)``, or ``(repeats, R)``: the mean with its
        standard error, as the legend says; or several such arrays by name.
      xlabel: the name of the rate.
      ylabel: the name of the measure, with its unit.
      ax: where to draw; a new figure if None.

    Returns:
      The figure.

    Raises:
      ValueError: if shapes do not fit.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import plots
      >>> figure = plots.rate_sweep(jnp.array([0.0, 0.5]), jnp.array([2.0, 1.0]))
      >>> figure.axes[0].get_xlabel()
      'dropout rate'
    """
    ax = given_or_new(ax)
    places = _series(rates, name="rates")
    order = np.argsort(places)
    counts = set()
    for name, series, style in styled(values, argument="values"):
        rows = as_rows(series, places.size, name=series_name("values", name))
        repeats = rows[:, order]
        mean, error = mean_and_error(repeats)
        shown: dict[str, Any] = {"label": label_of(name), "markersize": 4} | style
        ax.errorbar(places[order], mean, yerr=error, capsize=3, **shown)
        counts |= {len(repeats)} - {1}
    if counts:
        label = f"bar: ± standard error of {_numbers(counts)} repeats"
        ax.errorbar([], [], yerr=[], fmt="none", ecolor=GREY, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    set_ticks(ax, nbins=6)
    return add_legend(ax)


def _tint(strength: float) -> tuple[float, ...]:
    """A pale colour of bands: opaque, so that the legend shows it as it is drawn."""
    from matplotlib.colors import to_rgb

    share = 0.15 + 0.4 * strength
    return tuple(1 - share * (1 - part) for part in to_rgb(BLUE))


def _numbers(counts: set[int]) -> str:
    """One number, or the smallest to the largest."""
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _places(x: ArrayLike, /) -> np.ndarray:
    places = drawable(x, name="x")
    check_some(places, name="x")
    if not np.isfinite(places).all():
        raise ValueError(f"x must be finite, to be drawn in order, got {places}.")
    return places


def _series(values: ArrayLike, /, *, name: str) -> np.ndarray:
    array = drawable(values, name=name)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one axis, got {array.shape}.")
    return array


def _flat(values: ArrayLike, size: int, /, *, name: str) -> np.ndarray:
    array = drawable(values, name=name)
    if array.size != size:
        raise ValueError(
            f"{name} must hold one number for each input, {size}, got {array.shape}."
        )
    return array.ravel()


def _functions(samples: ArrayLike, shape: tuple[int, ...], /) -> np.ndarray:
    """Samples as rows: each has the shape of the inputs, or is flat."""
    array, size = drawable(samples, name="samples"), math.prod(shape)
    if array.shape[1:] not in (shape, (size,)):
        raise ValueError(f"samples must have the shape (S, {size}), got {array.shape}.")
    return array.reshape(len(array), size)
