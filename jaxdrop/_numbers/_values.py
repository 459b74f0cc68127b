"""Conversions that preserve values: arrays, labels, identifiers and scalars."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._errors import shown
from jaxdrop._numbers._host import (
    are_finite,
    as_float64,
    as_jax_dtype,
    as_numbers,
    default_float,
    in_common,
    is_object,
    refuse_complex,
)
from jaxdrop._typing import Array

_INT32 = np.iinfo(np.int32)


def as_array(value: Any, /, *, name: str) -> Array | np.ndarray:
    """Returns numbers in a dtype that JAX does not convert, or raises with the name.

    Args:
      value: a JAX array, which is returned unchanged, or numbers from the host.
      name: the name of the argument, for errors.

    Returns:
      A JAX array, or a NumPy array. Floats are at most as wide as JAX's default float.
      Integers that do not fit into JAX's default integer become floats.

    Raises:
      TypeError: if ``value`` does not hold numbers.
      ValueError: if a finite number is too large for a float, or entries are masked.
    """
    numbers = as_numbers(value, name)
    if isinstance(numbers, jax.Array):
        return numbers
    return as_jax_dtype(numbers, name)


def as_real(value: Any, /, *, name: str) -> Array | np.ndarray:
    """:func:`as_array`, and refuses complex numbers.

    Raises:
      TypeError: if ``value`` does not hold real numbers.
      ValueError: as :func:`as_array`.
    """
    array = as_array(value, name=name)
    refuse_complex(array, name)
    return array


def as_known(value: Any, /, *, name: str) -> float:
    """Returns a number that is known before tracing as a Python float.

    Raises:
      TypeError: as :func:`as_scalar`, or if the number is traced.
      ValueError: as :func:`as_scalar`.
    """
    scalar = as_scalar(value, name=name)
    if isinstance(scalar, jax.core.Tracer):
        raise TypeError(
            f"{name} is static, and must be known before tracing, got {shown(value)}."
        )
    return float(scalar)


def in_parts(value: Any, /, *, name: str) -> tuple[Array | np.ndarray, Any]:
    """Returns real numbers from the host as two parts: nearest floats, and the rest.

    For the difference from an array on the device subtract it from the first part and
    add the second: ``(nearest - x) + rest`` has no error from rounding the numbers.
    """
    given = as_numbers(value, name)
    nearest = as_real(given, name=name)
    if isinstance(given, jax.Array):
        return nearest, jnp.zeros_like(nearest)
    nearest = np.asarray(nearest, default_float())
    (exact, close) = in_common({"given": given, "nearest": nearest})
    finite = are_finite(exact)
    rest = np.where(finite, np.where(finite, exact, 0) - np.where(finite, close, 0), 0)
    return nearest, rest.astype(default_float())


def as_labels(value: Any, /, *, name: str) -> Array | np.ndarray:
    """Returns labels as int32, -1 for those beyond int32; bools are not changed.

    Raises:
      TypeError: if ``value`` does not hold integers or bools.
    """
    labels = as_numbers(value, name)
    if labels.dtype == bool:
        return labels
    whole = None
    if isinstance(labels, np.ndarray) and is_object(labels):
        whole = all(getattr(v, "denominator", 0) == 1 for v in labels.flat)
    if not (whole or jnp.issubdtype(labels.dtype, jnp.integer)):
        kind = "other numbers" if whole is False else f"an array of {labels.dtype}"
        raise TypeError(f"{name} must be integers, got {kind}.")
    where: Any = np.where if isinstance(labels, np.ndarray) else jnp.where
    if labels.dtype.itemsize < 4:  # a narrow dtype holds fewer numbers than classes
        return labels.astype(np.int32)
    named = (labels >= 0) & (labels <= _INT32.max)
    return where(named, where(named, labels, 0).astype(np.int32), np.int32(-1))


def as_ids(value: Any, /, *, name: str) -> Array:
    """Returns identifiers: JAX integers unchanged, host integers as uint32.

    Raises:
      TypeError: if ``value`` does not hold integers.
      ValueError: if a number from the host is not in ``[-2**31, 2**32)``.
    """
    ids = as_numbers(value, name)
    whole = jnp.issubdtype(ids.dtype, jnp.integer)
    if isinstance(ids, np.ndarray) and is_object(ids):
        whole = all(getattr(v, "denominator", 0) == 1 for v in ids.flat)
    if not whole:
        raise TypeError(f"{name} must be integers, got {shown(value)}.")
    if isinstance(ids, jax.Array):
        return ids
    if (ids >= 2**32).any():
        raise ValueError(f"{name} must be below 2**32, got {shown(value)}.")
    if (ids < _INT32.min).any():
        raise ValueError(f"{name} must be at least -2**31, got {shown(value)}.")
    return jnp.asarray(ids.astype(np.int64).astype(np.uint32))


def as_scalar(value: Any, /, *, name: str, remedy: str = "") -> Array | float:
    """Returns a JAX scalar unchanged, or another number as a Python float.

    Args:
      value: a number.
      name: the name of the argument, for errors.
      remedy: what to do with several numbers, for the error about an array.

    Raises:
      TypeError: if ``value`` is not a real number, or is a bool.
      ValueError: if it is an array with axes, or too large for a float.
    """
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise TypeError(f"{name} must be a number, got {shown(value)}.")
    scalar = as_numbers(value, name)
    if scalar.dtype == bool or jnp.issubdtype(scalar.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be a real number, got {shown(value)}.")
    if scalar.ndim:
        raise ValueError(
            f"{name} must be a scalar, got an array of shape {scalar.shape}{remedy}."
        )
    return scalar if isinstance(scalar, jax.Array) else float(as_float64(scalar, name))
