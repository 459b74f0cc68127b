"""Examples: their values and their weights, checked and in one shape."""

import math
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdrop._checks import is_number
from jaxdrop._norms import power_of_two
from jaxdrop._numbers import as_labels, as_real
from jaxdrop._typing import Array
from jaxdrop.metrics._probabilities import SLACK, check_classes


def as_float(array: Any, /, *, name: str) -> Array:
    """Returns ``array`` as real floats of at least 32 bits, or raises by name."""
    values: Array = jnp.asarray(array)
    real = jnp.issubdtype(values.dtype, jnp.number) or values.dtype == jnp.bool_
    if not real or jnp.issubdtype(values.dtype, jnp.complexfloating):
        raise TypeError(
            f"{name} must hold real numbers, got an array of {values.dtype}."
        )
    if jnp.issubdtype(values.dtype, jnp.floating) and values.dtype.itemsize >= 4:
        return values
    many = jnp.issubdtype(values.dtype, jnp.integer) and values.dtype.itemsize > 4
    return values.astype(jnp.result_type(float) if many else np.float32)


def as_examples(weights: ArrayLike | None, /, **arrays: ArrayLike) -> tuple[Array, ...]:
    """Returns arrays of one number per example, flat and in one dtype; weights last.

    Numbers without axes are repeated for every example. Shapes that differ raise: an
    ``(N, 1)`` beside an ``(N,)`` would quietly become ``(N, N)``.
    """
    floats = {name: as_float(array, name=name) for name, array in arrays.items()}
    shapes = {array.shape for array in floats.values() if array.ndim}
    if len(shapes) > 1:
        given = ", ".join(f"{name} {array.shape}" for name, array in floats.items())
        raise ValueError(f"shapes must be equal, got {given}.")
    shape = shapes.pop() if shapes else ()
    leading = [array for array in floats.values() if array.ndim] or floats.values()
    dtype = np.result_type(*(array.dtype for array in leading))
    flat = (
        jnp.broadcast_to(array.astype(dtype), shape).ravel()
        for array in floats.values()
    )
    return *flat, as_weights(weights, shape, dtype)


def as_classified(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None, /, *, name: str
) -> tuple[Array, Array, Array]:
    """Returns ``(N, C)`` floats, ``(N,)`` integer labels and ``(N,)`` weights."""
    table, labels = as_float(scores, name=name), jnp.asarray(labels)
    if table.ndim == 0 or table.shape[-1] == 0:
        raise ValueError(f"{name} needs a last axis of classes, got {table.shape}.")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got an array of {labels.dtype}.")
    if labels.shape != table.shape[:-1]:
        remedy = ""
        if labels.shape == table.shape:
            of_two = (
                "binary_logits" if name == "logits" else "jnp.stack([1 - p, p], -1)"
            )
            remedy = f" For the one output of a binary model use {of_two}."
        raise ValueError(
            f"labels must have the shape of {name} without its last axis, "
            f"{table.shape[:-1]}, got {labels.shape}.{remedy}"
        )
    check_classes(table.shape, name=name)
    flat = jnp.asarray(as_labels(labels, name="labels")).ravel()
    counts = as_weights(weights, labels.shape, table.dtype)
    return table.reshape(flat.size, table.shape[-1]), flat, counts


def as_weights(
    weights: ArrayLike | None, shape: tuple[int, ...], dtype: np.dtype, /
) -> Array:
    """Returns flat weights of a batch, ones if none are given.

    A weight that is negative, or infinite after rounding, becomes NaN.
    """
    if weights is None:
        return jnp.ones(math.prod(shape), dtype)
    counts = as_float(weights, name="weights")
    if counts.shape != shape:
        raise ValueError(
            f"weights must hold one number per example, of shape {shape}, got "
            f"{counts.shape}."
        )
    rounded = counts.astype(dtype)
    return poison(rounded, (counts >= 0) & (rounded < jnp.inf)).ravel()


def in_units(weights: Array, /) -> Array:
    """Weights divided by a power of two, so that no sum or square leaves the range."""
    counted = jnp.where((weights > 0) & jnp.isfinite(weights), weights, 0)
    largest = jax.lax.stop_gradient(counted.max(initial=0))
    return weights / power_of_two(largest)


def weighted(values: Array, weights: Array, /) -> Array:
    """``weights * values``, where an example of weight 0 may hold anything."""
    return jnp.where(weights == 0, 0, weights * values)


def weighted_mean(values: Array, weights: Array, /) -> Array:
    """The mean over the first axis; NaN if all weights are 0."""
    weights = in_units(weights)
    return weighted(values, weights).sum(0) / weights.sum(0)


def is_label(labels: Array, num_classes: int, /) -> Array:
    """Whether each label is one of the classes."""
    return (labels >= 0) & (labels < num_classes)


def at_label(table: Array, labels: Array, /) -> Array:
    """The entry of each row at its label; NaN where that is not a class."""
    index = jnp.clip(labels, 0, table.shape[-1] - 1)[:, None]
    picked = jnp.take_along_axis(table, index, axis=-1)[:, 0]
    return poison(picked, is_label(labels, table.shape[-1]))


def is_probability(values: Array, /) -> Array:
    """Whether each number is 1, up to rounding."""
    return (values >= 0) & (values <= 1 + SLACK)


def poison(values: Array, valid: Array, /) -> Array:
    """NaN where ``valid`` is false, since traced values cannot raise."""
    return jnp.where(valid, values, jnp.nan)


def as_level(level: ArrayLike, /, *, name: str, ends: str = "") -> ArrayLike:
    """Returns a number between 0 and 1; others raise, and give NaN in a JAX array.

    The ends 0 and 1 are allowed if they are in ``ends``.
    """
    zero, one = "0" in ends, "1" in ends
    shape: tuple[int, ...] = ()
    if isinstance(level, np.ndarray | jax.Array):
        shape = as_real(level, name=name).shape
    if shape:
        raise ValueError(
            f"{name} must be one number, got an array of shape {shape}; use jax.vmap "
            "for several."
        )
    if isinstance(level, jax.Array):
        if not jnp.issubdtype(level.dtype, jnp.floating):
            level = level.astype(jnp.result_type(float))
        inside = (level > 0) & (level < 1)
        return poison(level, inside | (zero & (level == 0)) | (one & (level == 1)))
    if isinstance(level, bool | np.bool_) or not (
        isinstance(level, Decimal) or is_number(level)
    ):
        raise TypeError(f"{name} must be a number between 0 and 1, got {level!r}.")
    number = float(level) if isinstance(level, np.ndarray | np.generic) else level
    if not (0 < number < 1 or (zero and number == 0) or (one and number == 1)):
        raise ValueError(f"{name} must be between 0 and 1, got {level}.")
    number = float(number)
    if 0 < number < float(np.finfo(np.float32).tiny):
        raise ValueError(f"{name} is too close to 0 for float32, got {level}.")
    return number
