"""Differences of evaluation from training: of the mean output, and of variance."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxdrop._checks import (
    as_count,
    check_axis,
    check_callable,
    check_inexact,
    check_rate,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._loops import as_carry
from jaxdrop._norms import power_of_two, squared, widened
from jaxdrop._numbers import as_array, as_real, as_scalar
from jaxdrop._typing import Array, Key, PyTree, Rate


class WeightScalingGap(NamedTuple):
    """The output of one pass without dropout, and the mean of many passes with it.

    Attributes:
      deterministic: the output of the deterministic pass.
      average: the mean output of the stochastic passes, in float32 or wider.
      stderr: the standard error of that mean.
      gap: the root of the mean squared difference of the two over all entries, minus
        the part that the standard error explains; 0 if it explains all of it.
    """

    deterministic: PyTree
    average: PyTree
    stderr: PyTree
    gap: Array


@named
def weight_scaling_gap(
    stochastic: Callable[..., PyTree],
    deterministic: Callable[..., PyTree],
    key: Key,
    /,
    *args: PyTree,
    num_samples: int,
) -> WeightScalingGap:
    """Measures the difference of a deterministic pass from the Monte-Carlo average.

    With division by the keep probability, one pass without masks approximates the
    average over all masks. It is exact for linear networks only; where the gap is
    large, the average over masks is another prediction, and often a better one.

    Args:
      stochastic: a function of a key and ``args`` with masks.
      deterministic: a function of ``args`` without masks, with the same outputs.
      key: a PRNG key; sample ``t`` uses ``jax.random.fold_in(key, t)``.
      *args: the arguments of both: parameters, inputs.
      num_samples: the number of stochastic passes, at least 2, which are run one after
        another in constant memory. Static.

    Returns:
      Both outputs, the standard error of the average, and the gap.

    Raises:
      ValueError: if ``num_samples`` is less than 2, or a key is missing.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, `Dropout: a simple way
      to prevent neural networks from overfitting
      <https://jmlr.org/papers/v15/srivastava14a.html>`_, JMLR 2014, section 7.5.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from jaxdrop import diagnostics
      >>> relu = jax.nn.relu
      >>> noisy = lambda key, x: relu(jaxdrop.dropout(key, x, rate=0.5).sum(-1) - 3)
      >>> plain = lambda x: relu(x.sum(-1) - 3)
      >>> result = diagnostics.weight_scaling_gap(
      ...     noisy, plain, jax.random.key(0), jnp.ones((8, 4)), num_samples=1000
      ... )
      >>> bool(result.gap > 0.2)  # a kink bends the average upwards
      True
    """
    num_samples = as_count(num_samples, name="num_samples", least=2)
    check_callable(stochastic, name="stochastic")
    check_callable(deterministic, name="deterministic")
    key = require_key(key, instead="")
    single = _entered(deterministic(*args), "deterministic")
    zeros = jax.tree.map(lambda y: jnp.zeros_like(widened(y)), single)
    none = jax.tree.map(lambda y: y.real, zeros)

    def add(index: Array, moments: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        sample = stochastic(jax.random.fold_in(key, index), *args)
        sample = _entered(sample, "stochastic")
        return _with_sample(moments, sample, index)

    start = as_carry(lambda moments: add(jnp.int32(0), moments), (zeros, none))
    mean, moment = lax.fori_loop(0, num_samples, add, start)
    stderr = jax.tree.map(
        lambda m: jnp.sqrt(m / float(num_samples - 1) / float(num_samples)), moment
    )
    return WeightScalingGap(single, mean, stderr, _gap(single, mean, stderr))


@named
def variance_shift(
    activities: Array,
    /,
    *,
    rate: Rate,
    kernel: Array | None = None,
    axis: int = -1,
) -> Array:
    """Computes the ratio of variances after dropout, evaluation over training.

    Dropout keeps means but adds variance in training, when BatchNorm collects its
    statistics; in evaluation the variance is smaller by this ratio, which BatchNorm
    does not correct. 1 means no shift. To avoid it, use dropout after the last
    BatchNorm only, or not at all.

    Args:
      activities: the inputs of dropout, in evaluation, ``(*examples, features)``.
      rate: the rate of dropout, a scalar; may be traced.
      kernel: the weights of a dense layer between dropout and BatchNorm,
        ``(features, units)``; None if there is none.
      axis: the axis of the features. Static.

    Returns:
      The ratio for each unit that BatchNorm normalizes, in [0, 1], in float32 or wider;
      1 for a unit that is always 0; NaN for a JAX ``rate`` outside ``[0, 1]``.

    Raises:
      ValueError: if ``rate`` is out of range, or shapes do not agree.
      TypeError: if ``activities`` are not floating point.

    References:
      Li, Chen, Hu, Yang, `Understanding the disharmony between dropout and batch
      normalization by variance shift <https://arxiv.org/abs/1801.05134>`_, CVPR 2019.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import diagnostics
      >>> x = jax.random.normal(jax.random.key(0), (10_000, 3))  # mean 0, variance 1
      >>> ratio = diagnostics.variance_shift(x, rate=0.5)
      >>> bool(jnp.allclose(ratio, 0.5, atol=0.01))
      True
    """
    check_rate(rate)
    given = as_array(activities, name="activities")
    activities = check_inexact(given, name="activities")
    features = check_axis(axis, activities.ndim, name="axis")
    x = jnp.moveaxis(widened(activities), features, -1)
    x = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    each = 0 if kernel is None else None  # a kernel mixes the features
    largest = jnp.max(jnp.abs(x), axis=each, keepdims=True, initial=0)
    x = x / power_of_two(largest).astype(x.dtype)  # no square leaves the range
    power = jnp.mean(squared(x), axis=0)
    if kernel is None:
        variance = jnp.var(x, axis=0)
    else:
        door = as_array if jnp.iscomplexobj(x) else as_real
        weights = widened(jnp.asarray(door(kernel, name="kernel"))).astype(x.dtype)
        if weights.ndim != 2 or weights.shape[0] != x.shape[1]:
            raise ValueError(
                f"kernel must have the shape ({x.shape[1]}, units), got "
                f"{weights.shape}."
            )
        variance = jnp.var(_product(x, weights), axis=0)
        power = _product(power[None], squared(weights))[0]
    dropped = jnp.asarray(as_scalar(rate, name="rate")).astype(variance.dtype)
    dropped = jnp.where((dropped >= 0) & (dropped <= 1), dropped, jnp.nan)
    keep = 1 - dropped
    # Multiplied by keep, which may be 0: variance + rate / keep * power.
    in_training = keep * variance + dropped * power
    silent = in_training == 0
    return jnp.where(silent, 1, keep * variance / jnp.where(silent, 1, in_training))


def _entered(outputs: PyTree, name: str) -> PyTree:
    """The outputs of a function as JAX arrays, or an error that names the function."""
    of = f"the output of {name}"
    return jax.tree.map(lambda leaf: jnp.asarray(as_array(leaf, name=of)), outputs)


def _with_sample(
    moments: tuple[PyTree, PyTree], sample: PyTree, index: Array
) -> tuple[PyTree, PyTree]:
    """Welford's update of means and of sums of squared deviations."""
    mean, spread = moments

    def step(old: Array, y: Array) -> Array:
        return old + (y.astype(old.dtype) - old) / (index + 1).astype(old.dtype)

    def add(total: Array, old: Array, new: Array, y: Array) -> Array:
        y = y.astype(old.dtype)
        return total + ((y - old) * (y - new).conj()).real

    moved = jax.tree.map(step, mean, sample)
    return moved, jax.tree.map(add, spread, mean, moved, sample)


def _gap(single: PyTree, mean: PyTree, stderr: PyTree) -> Array:
    """The distance of two outputs, minus the part that noise explains."""

    def excess(y: Array, m: Array, error: Array) -> Array:
        difference = widened(y) - m
        return jnp.sum(squared(difference) - squared(error)).astype(jnp.float32)

    terms = jax.tree.leaves(jax.tree.map(excess, single, mean, stderr))
    size = sum(jnp.size(y) for y in jax.tree.leaves(mean))
    return jnp.sqrt(jnp.maximum(sum(terms, jnp.float32(0)) / float(max(size, 1)), 0))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
