"""Means, variances and covariances, by numerically stable updates."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import Precision

from jaxdrop._checks import as_count
from jaxdrop._errors import named_with_results
from jaxdrop._masks import whole
from jaxdrop._typing import Array
from jaxdrop.mc._reducer import (
    Of,
    Reducer,
    Stats,
    count_of,
    float_of,
    keep_valid,
    leafwise,
    merging,
    ratio,
    safe_sqrt,
    unless,
    widened,
)


class Moments(NamedTuple):
    """The number of samples, their mean, and the sum of squared deviations from it."""

    number: Array
    mean: Array
    squares: Array


class Comoments(NamedTuple):
    """The number of samples, their mean, and the outer products of deviations."""

    number: Array
    mean: Array
    products: Array


@named_with_results
def moments(*, ddof: int = 1, of: Of = None) -> Reducer:
    """Means and variances of every array of the outputs.

    Computed from deviations from a running mean, merged by the formula of Chan et al.:
    in float32 the variance of samples with mean 10,000 and variance 1 is accurate,
    where the mean of the squares minus the square of the mean would give 0.

    Args:
      ddof: sums of squares are divided by the number of samples minus this. Static.
      of: the part of the outputs: a key or attribute, an index, or a function. Static.

    Returns:
      A reducer with the statistics ``mean`` and ``var``, and the standard error of
      ``mean``. ``var`` is NaN unless there are more samples than ``ddof``.

    References:
      Welford, `Note on a method for calculating corrected sums of squares and products
      <https://doi.org/10.1080/00401706.1962.10490022>`_, 1962. Chan, Golub, LeVeque,
      `Updating formulae and a pairwise algorithm for computing sample variances
      <https://doi.org/10.1007/978-3-642-51461-6_3>`_, 1982.

    Examples:
      >>> import jax
      >>> from jaxdrop import mc
      >>> fn = lambda key, x: {"value": x + jax.random.normal(key)}
      >>> result = mc.predict(fn, jax.random.key(0), 1.0, num_samples=8,
      ...                     reducers=mc.moments())
      >>> sorted(result.stats), result.stats["mean"]["value"].shape
      (['mean', 'var'], ())
    """
    ddof = as_count(ddof, name="ddof", least=0)

    def finalize(state: Moments) -> Stats:
        return {"mean": mean_of(state), "var": variance_of(state, ddof=ddof)}

    of_array = Reducer(
        init=lambda output: no_moments(output.shape, output.dtype),
        update=merging(moments_of, merge_moments),
        merge=merge_moments,
        finalize=finalize,
        stderr=lambda state: {"mean": error_of_mean(state)},
    )
    return leafwise(of_array, Moments, of=of)


@named_with_results
def covariance(*, num_axes: int | None = 1, ddof: int = 1, of: Of = None) -> Reducer:
    """The covariance over the last axes, for every array of the outputs.

    Args:
      num_axes: the number of trailing axes that vary jointly, or None for all; they are
        flattened into one of length ``D``, and the axes before them are batch axes.
        Static.
      ddof: sums are divided by the number of samples minus this. Static.
      of: the part of the outputs: a key or attribute, an index, or a function. Static.

    Returns:
      A reducer with the statistics ``mean``, in the shape of the outputs, and
      ``covariance``, ``(*batch, D, D)``, and the standard error of ``mean``.

    Examples:
      >>> import jax
      >>> from jaxdrop import mc
      >>> fn = lambda key: jax.random.normal(key, (4, 3))
      >>> result = mc.predict(fn, jax.random.key(0), num_samples=8,
      ...                     reducers=mc.covariance())
      >>> result.stats["covariance"].shape
      (4, 3, 3)
    """
    if num_axes is not None:
        num_axes = as_count(num_axes, name="num_axes", least=0)
    ddof = as_count(ddof, name="ddof", least=0)

    def joined(shape: tuple[int, ...]) -> tuple[int, ...]:
        batch = 0 if num_axes is None else len(shape) - num_axes
        if batch < 0:
            raise ValueError(
                f"num_axes={num_axes} is more than the outputs' axes, {shape}."
            )
        return (*shape[:batch], math.prod(shape[batch:]))

    def init(output: jax.ShapeDtypeStruct) -> Comoments:
        shape, dtype = joined(output.shape), float_of(output.dtype)
        return Comoments(
            jnp.zeros((), jnp.int32),
            jnp.zeros(output.shape, dtype),
            jnp.zeros((*shape, shape[-1]), dtype),
        )

    def of_samples(samples: Array, valid: Array) -> Comoments:
        joint = samples.ndim - 1 if num_axes is None else num_axes
        samples = whole(widened(samples), tuple(range(-joint, 0)))
        mean, centred = _centred(samples, valid)
        flat = centred.reshape(len(samples), *joined(samples.shape[1:]))
        products = jnp.einsum(
            "k...i,k...j->...ij", flat, flat, precision=Precision.HIGHEST
        )
        return Comoments(count_of(valid), mean, products)

    def merge(a: Comoments, b: Comoments) -> Comoments:
        count, mean, delta, weight = _merge_means(a, b)
        flat = delta.reshape(joined(delta.shape))
        outer = flat[..., :, None] * flat[..., None, :] * weight
        return Comoments(count, mean, a.products + b.products + outer)

    def finalize(state: Comoments) -> Stats:
        return {
            "mean": mean_of(state),
            "covariance": state.products / _degrees(state, ddof),
        }

    def stderr(state: Comoments) -> Stats:
        squares = jnp.diagonal(state.products, axis1=-2, axis2=-1)
        squares = squares.reshape(state.mean.shape)
        return {"mean": error_of_mean(Moments(state.number, state.mean, squares))}

    of_array = Reducer(init, merging(of_samples, merge), merge, finalize, stderr)
    return leafwise(of_array, Comoments, of=of)


def no_moments(shape: tuple[int, ...], dtype: Any) -> Moments:
    """The moments of no samples."""
    zeros = jnp.zeros(shape, float_of(dtype))
    return Moments(jnp.zeros((), jnp.int32), zeros, zeros)


def moments_of(samples: Array, valid: Array) -> Moments:
    """The moments of ``(k, ...)`` samples."""
    mean, centred = _centred(widened(samples), valid)
    return Moments(count_of(valid), mean, jnp.square(centred).sum(0))


def merge_moments(a: Moments, b: Moments) -> Moments:
    """The moments of the samples of both."""
    count, mean, delta, weight = _merge_means(a, b)
    squares = a.squares + b.squares + jnp.square(delta) * weight
    return Moments(count, mean, squares)


def mean_of(state: Moments | Comoments) -> Array:
    """The mean; NaN without samples."""
    return unless(state.number == 0, state.mean)


def variance_of(state: Moments, /, *, ddof: int) -> Array:
    """The variance; NaN where there are not more samples than ``ddof``."""
    return state.squares / _degrees(state, ddof)


def error_of_mean(state: Moments) -> Array:
    """The standard error of the mean; NaN for fewer than two samples."""
    count = state.number.astype(state.mean.dtype)
    return safe_sqrt(variance_of(state, ddof=1) / count)


def _degrees(state: Moments | Comoments, ddof: int) -> Array:
    left = (state.number - ddof).astype(state.mean.dtype)
    return unless(left <= 0, left)


def _centred(samples: Array, valid: Array) -> tuple[Array, Array]:
    """The mean of the valid samples, and their deviations from it, 0 for others."""
    number = jnp.maximum(count_of(valid), 1).astype(samples.dtype)
    mean = keep_valid(samples, valid).sum(0) / number
    return mean, keep_valid(samples - mean[None], valid)


def _merge_means(a: Any, b: Any) -> tuple[Array, Array, Array, Array]:
    """The joint count and mean, the difference of the means, and its weight."""
    count = a.number + b.number
    share = ratio(b.number, count, a.mean.dtype)
    delta = b.mean - a.mean
    weight = a.number.astype(a.mean.dtype) * share
    mean = jnp.where(
        jnp.isfinite(delta),
        a.mean + delta * share,
        (1 - share) * a.mean + share * b.mean,  # infinite, where the difference is NaN
    )
    return count, mean, delta, weight
