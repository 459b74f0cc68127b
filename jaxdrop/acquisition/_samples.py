"""Samples of logits, and maps over the points of a pool."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxdrop._typing import Array
from jaxdrop.metrics._examples import as_float
from jaxdrop.metrics._probabilities import check_classes

POINTS_AT_A_TIME = 64  # of the pool, which bounds the memory of intermediate arrays


def over_points(
    function: Callable[[Array], Array],
    samples: Array,
    number: int = POINTS_AT_A_TIME,
) -> Array:
    """Maps a function of ``(samples, classes)`` over a pool, ``number`` at a time."""
    points = jnp.moveaxis(samples, 1, 0)
    scores: Array = lax.map(function, points, batch_size=number)
    return scores


def entropy_of_probs(probs: Array) -> Array:
    some = probs != 0
    return -jnp.where(some, probs * jnp.log(jnp.where(some, probs, 1)), 0).sum(-1)


def _surplus(excess: Array) -> Array:
    """``(1 + d) * log(1 + d) - d`` for each ``d`` of at least -1, exact near 0.

    A divergence is the mean of it, over probabilities ``q``, for ``d = (p - q) / q``:
    a sum of terms that are not negative, where a difference of entropies would leave
    the rounding error of the entropies.
    """
    small = jnp.abs(excess) < 0.02
    d = jnp.where(small, excess, 0)
    series = jnp.square(d) * (
        1 / 2 - d * (1 / 6 - d * (1 / 12 - d * (1 / 20 - d / 30)))
    )
    ratio = 1 + jnp.where(small, 0, jnp.maximum(excess, -1))
    some = ratio != 0
    direct = ratio * jnp.log(jnp.where(some, ratio, 1)) - (ratio - 1)
    return jnp.where(small, series, direct)


def divergence(difference: Array, base: Array) -> Array:
    """The sum of ``_surplus`` over the last axis, for ``p - q`` and ``q``."""
    some = base != 0
    terms = base * _surplus(difference / jnp.where(some, base, 1))
    return jnp.where(some, terms, 0).sum(-1)


def as_log_probs(logits: ArrayLike, *, name: str = "logits") -> Array:
    table = as_float(logits, name=name)
    if table.ndim != 3 or math.prod(table.shape[::2]) == 0:
        remedy = (
            " For a binary model with one logit use jaxdrop.metrics.binary_logits."
            if table.ndim == 2
            else ""
        )
        raise ValueError(
            f"{name} must be (samples, points, classes), got shape {table.shape}."
            f"{remedy}"
        )
    check_classes(table.shape, name=name)
    return jax.nn.log_softmax(table, axis=-1)
