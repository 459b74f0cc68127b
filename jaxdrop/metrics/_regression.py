"""Predictive distributions of real numbers: scores, sharpness, calibration."""

from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import stats
from jax.typing import ArrayLike

from jaxdrop._checks import as_count, check_axis, check_switch
from jaxdrop._errors import named
from jaxdrop._norms import power_of_two
from jaxdrop._numbers import as_numbers, relative
from jaxdrop._typing import Array
from jaxdrop.metrics._bins import equal_mass_bins
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import (
    as_examples,
    as_float,
    as_weights,
    poison,
    weighted,
    weighted_mean,
)


@named
@compiled(differing=("targets", "mean"))
def crps_gaussian(
    mean: ArrayLike,
    std: ArrayLike,
    targets: ArrayLike,
    /,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """The continuous ranked probability score of normal predictions.

    In the units of the targets; for ``std = 0`` it is the absolute error.

    Args:
      mean: the predicted means ``(*batch)``.
      std: the predicted standard deviations ``(*batch)``, or one for all.
      targets: the observed values ``(*batch)``.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar, lower is better; NaN for a negative ``std``, or without examples.

    References:
      Gneiting, Raftery, Westveld, Goldman, `Calibrated probabilistic forecasting using
      ensemble model output statistics and minimum CRPS estimation
      <https://doi.org/10.1175/MWR2904.1>`_, 2005.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import crps_gaussian
      >>> f"{crps_gaussian(jnp.zeros(3), jnp.ones(3), jnp.zeros(3)):.4f}"
      '0.2337'
    """
    mean, std, targets, counts = as_examples(
        weights, mean=mean, std=std, targets=targets
    )
    error, some = targets - mean, std > 0
    width = jnp.where(some, std, 1)
    z = error / width
    spread = 2 * stats.norm.pdf(z) - 1 / jnp.sqrt(jnp.asarray(np.pi, z.dtype))
    score = error * (2 * stats.norm.cdf(z) - 1) + width * spread
    score = poison(jnp.where(some, score, jnp.abs(error)), std >= 0)
    return weighted_mean(score, counts)


@named
def crps_samples(
    samples: ArrayLike,
    targets: ArrayLike,
    /,
    *,
    axis: int = 0,
    fair: bool = True,
    weights: ArrayLike | None = None,
) -> Array:
    """The continuous ranked probability score of predictions given by samples.

    Args:
      samples: ``(samples, *batch)``, or with the samples along another axis.
      targets: the observed values ``(*batch)``.
      axis: the axis of the samples. Static.
      fair: estimate the score of the distribution that the samples come from, without
        bias for any number of them, at least two. Otherwise the score of the
        samples themselves, which decreases with their number. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar, lower is better; NaN without examples.

    Raises:
      ValueError: if there are too few samples, or shapes do not fit.

    References:
      Ferro, `Fair scores for ensemble forecasts <https://doi.org/10.1002/qj.2270>`_,
      2014. Zamo, Naveau, `Estimation of the continuous ranked probability score with
      limited information <https://doi.org/10.1007/s11004-017-9709-7>`_, 2018.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import crps_samples
      >>> samples = jnp.array([[0.0], [1.0]])
      >>> float(crps_samples(samples, jnp.array([1.0])))
      0.0
      >>> float(crps_samples(samples, jnp.array([1.0]), fair=False))
      0.25
    """
    samples, targets = _apart(samples, targets, axis)
    fair = check_switch(fair, name="fair")
    return _crps_samples(samples, targets, axis=axis, fair=fair, weights=weights)


def _apart(samples: ArrayLike, targets: ArrayLike, axis: int) -> tuple[Any, Any]:
    """Samples and targets with the same differences, if their shapes fit."""
    draws, truth = as_numbers(samples, "samples"), as_numbers(targets, "targets")
    if not isinstance(axis, Integral) or not draws.ndim:
        return draws, truth
    along = check_axis(int(axis), draws.ndim, name="axis")
    if truth.shape != draws.shape[:along] + draws.shape[along + 1 :]:
        return draws, truth
    if isinstance(draws, jax.Array) and isinstance(truth, jax.Array):
        return draws, truth
    xp: Any = jnp if isinstance(truth, jax.Array) else np
    repeated = xp.broadcast_to(xp.expand_dims(truth, along), draws.shape)
    if not draws.size:
        return draws, truth
    truth, draws = relative(targets=repeated, samples=draws)
    return draws, truth.take(0, axis=along)


@compiled("axis", "fair")
def _crps_samples(
    samples: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int,
    fair: bool,
    weights: ArrayLike | None = None,
) -> Array:
    draws = as_float(samples, name="samples")
    draws = jnp.moveaxis(draws, check_axis(axis, draws.ndim, name="axis"), 0)
    count, needed = draws.shape[0], 2 if fair else 1
    if count < needed:
        raise ValueError(
            f"at least {needed} samples are needed with fair={fair}, got {count}."
        )
    truth = as_float(targets, name="targets")
    if truth.shape != draws.shape[1:]:
        raise ValueError(
            f"targets must have the shape of one sample, {draws.shape[1:]}, got "
            f"{truth.shape}."
        )
    error = draws - truth.astype(draws.dtype)[None]
    place = 2 * jnp.arange(1, count + 1, dtype=error.dtype) - count - 1
    pairs = float(count) * (count - 1 if fair else count)
    gaps = jnp.tensordot(
        place, jnp.sort(error, axis=0), 1, precision=jax.lax.Precision.HIGHEST
    )
    score = (jnp.abs(error).mean(0) - gaps / pairs).ravel()
    return weighted_mean(score, as_weights(weights, truth.shape, score.dtype))


@named
@compiled()
def sharpness(std: ArrayLike, /, *, weights: ArrayLike | None = None) -> Array:
    """The root of the mean predicted variance.

    It does not depend on the targets: compare it among calibrated models.

    Args:
      std: the predicted standard deviations ``(*batch)``.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in the units of the targets, lower is sharper; NaN for a negative
      ``std``, or without examples.

    References:
      Kuleshov, Fenner, Ermon, `Accurate uncertainties for deep learning using
      calibrated regression <https://arxiv.org/abs/1807.00263>`_, ICML 2018.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import sharpness
      >>> float(sharpness(jnp.array([1.0, 7.0])))
      5.0
    """
    std, counts = as_examples(weights, std=std)
    std = poison(std, std >= 0)
    counted = jnp.where((counts > 0) & jnp.isfinite(std), std, 0)
    unit = power_of_two(counted.max(initial=0))  # so that no square leaves the range
    return unit * jnp.sqrt(weighted_mean(jnp.square(std / unit), counts))


class RegressionCalibration(NamedTuple):
    """The share of targets below predicted quantiles, and errors by predicted variance.

    Attributes:
      levels: ``(num_levels,)``: the levels of the quantiles.
      observed: ``(num_levels,)``: the share of targets at or below the quantiles.
        Above the level where predictions are too high.
      weight: ``(num_bins,)``: the weight of the examples of each bin. Bins are by
        predicted variance, and have equal mass.
      variance: ``(num_bins,)``: the mean predicted variance.
      squared_error: ``(num_bins,)``: the mean squared error.
    """

    levels: Array
    observed: Array
    weight: Array
    variance: Array
    squared_error: Array

    @property
    def mace(self) -> Array:
        """The mean absolute difference of observed shares and levels."""
        return jnp.abs(self.observed - self.levels).mean()

    @property
    def rmsce(self) -> Array:
        """The root of their mean squared difference."""
        return jnp.sqrt(jnp.square(self.observed - self.levels).mean())

    @property
    def ence(self) -> Array:
        """The expected normalized calibration error: of root mean squares, per bin.

        A bin without predicted variance makes it infinite, or adds 0 without errors.
        """
        predicted, seen = jnp.sqrt(self.variance), jnp.sqrt(self.squared_error)
        filled = (self.weight != 0).astype(predicted.dtype)  # NaN is not empty
        right = (predicted == 0) & (seen == 0)
        share = jnp.abs(predicted - seen) / jnp.where(right, 1, predicted)
        return weighted_mean(share, filled)

    @property
    def uce(self) -> Array:
        """The uncertainty calibration error: of the variance, weighted by examples."""
        terms = jnp.abs(self.squared_error - self.variance) * self.weight
        return jnp.where(self.weight > 0, terms, 0).sum() / self.weight.sum()


@named
def regression_calibration(
    mean: ArrayLike,
    std: ArrayLike,
    targets: ArrayLike,
    /,
    *,
    num_levels: int = 99,
    num_bins: int = 10,
    weights: ArrayLike | None = None,
) -> RegressionCalibration:
    """Compares normal predictions with observations, quantile by quantile.

    Args:
      mean: the predicted means ``(*batch)``.
      std: the predicted standard deviations ``(*batch)``, or one for all.
      targets: the observed values ``(*batch)``.
      num_levels: the number of quantiles, evenly spaced inside ``(0, 1)``. Static.
      num_bins: the number of bins of equal mass, by predicted variance. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      The curve and the bins, with the summaries ``mace``, ``rmsce``, ``ence`` and
      ``uce``; NaN where a ``std`` is negative. With a ``std`` of 0 all quantiles are
      the mean.

    Raises:
      ValueError: if shapes do not fit, or a count is not positive.
      TypeError: if a count is not an integer.

    References:
      Kuleshov, Fenner, Ermon, `Accurate uncertainties for deep learning using
      calibrated regression <https://arxiv.org/abs/1807.00263>`_, ICML 2018. Levi,
      Gispan, Giladi, Fetaya, `Evaluating and calibrating uncertainty prediction in
      regression tasks <https://arxiv.org/abs/1905.11659>`_, 2019. Laves, Ihler, Fast,
      Kahrs, Ortmaier, `Well-calibrated regression uncertainty in medical imaging with
      deep learning <https://proceedings.mlr.press/v121/laves20a.html>`_, MIDL 2020.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import regression_calibration
      >>> y = jnp.linspace(-1.0, 1.0, 5)
      >>> too_high = regression_calibration(y + 1, 1.0, y, num_levels=9)
      >>> bool((too_high.observed >= too_high.levels)[2:].all())
      True
    """
    return _regression_calibration(
        mean,
        std,
        targets,
        std,
        num_levels=num_levels,
        num_bins=num_bins,
        weights=weights,
    )


@compiled("num_levels", "num_bins", ordered=("order",), differing=("targets", "mean"))
def _regression_calibration(
    mean: ArrayLike,
    std: ArrayLike,
    targets: ArrayLike,
    order: ArrayLike,
    *,
    num_levels: int,
    num_bins: int,
    weights: ArrayLike | None = None,
) -> RegressionCalibration:
    """Bins by ``order``, in which widths of NumPy do not become equal."""
    mean, std, targets, order, counts = as_examples(
        weights, mean=mean, std=std, targets=targets, order=order
    )
    error = targets - mean
    # Without a width the distribution is a step, which is at or below its mean.
    z = jnp.where(std > 0, error / std, jnp.where(error > 0, jnp.inf, -jnp.inf))
    z = poison(z, (std >= 0) & ~jnp.isnan(error))
    rank_of_target = stats.norm.cdf(z)
    std = poison(std, std >= 0)
    num_levels = as_count(num_levels, name="num_levels")
    spaced = np.arange(1, num_levels + 1) / (num_levels + 1)
    levels: Array = jnp.asarray(spaced, mean.dtype)

    def share_below(level: Array) -> Array:
        below = (rank_of_target <= level).astype(mean.dtype)
        return weighted_mean(poison(below, ~jnp.isnan(rank_of_target)), counts)

    bins = equal_mass_bins(poison(order, std >= 0), counts, num_bins)
    weight = bins.sum(counts)
    return RegressionCalibration(
        levels=levels,
        observed=jax.lax.map(share_below, levels),
        weight=weight,
        variance=bins.sum(weighted(jnp.square(std), counts)) / weight,
        squared_error=bins.sum(weighted(jnp.square(error), counts)) / weight,
    )
