"""Conversions that preserve the order of numbers, or the differences between them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._numbers._host import (
    are_finite,
    as_jax_dtype,
    default_float,
    in_common,
    may_round,
    on_host,
)
from jaxdrop._numbers._values import as_real
from jaxdrop._typing import Array

_FIRST_NORMAL = np.int32(0x00800000)  # the bits of the smallest normal float32


def in_order(**arrays: Any) -> tuple[Array | np.ndarray, ...]:
    """Returns floats in the same order as the arguments.

    Args:
      **arrays: arrays that are compared with each other, by their names.

    Returns:
      For each argument the numbers themselves, if all of them are exact as floats, or
      are floats on the device. Otherwise float32 numbers in the order of the values of
      all arguments, equal for equal values, and NaN for NaN.
    """
    host = on_host(arrays)
    if host is not None:
        return _ranked(in_common(host))
    given = tuple(as_real(value, name=name) for name, value in arrays.items())
    kinds = {array.dtype for array in given}
    if len(kinds) == 1 and may_round(*kinds):
        return _ranked([jnp.asarray(array) for array in given])
    return given


def relative(**arrays: Any) -> tuple[Array | np.ndarray, ...]:
    """Returns arrays with the same differences as the arguments.

    Args:
      **arrays: arrays of the same shape, or numbers, that are subtracted from each
        other, by their names.

    Returns:
      The numbers themselves, if all of them are exact as floats, or are floats on the
      device. Otherwise their differences from the first argument, computed in the
      precision of the arguments; an entry of the first that is not finite is not
      subtracted.
    """
    host = on_host(arrays)
    if host is None:
        given = tuple(as_real(value, name=name) for name, value in arrays.items())
        kinds = {array.dtype for array in given}
        whole = len(kinds) == 1 and may_round(*kinds)
    else:
        given = tuple(host.values())
        whole = False
    if len({array.shape for array in given if array.ndim}) > 1:
        return tuple(as_real(value, name=name) for name, value in arrays.items())
    if whole:
        return tuple(_integer_difference(array, given[0]) for array in given)
    if host is None:
        return given
    first, *_ = values = in_common(host)
    origin = np.where(are_finite(first), first, 0)
    apart = [_less(value, origin) for value in values]
    try:
        return tuple(map(as_jax_dtype, apart, arrays))
    except ValueError:
        raise ValueError(
            f"{' and '.join(arrays)} differ by more than {default_float()} can hold; "
            "rescale them, or enable x64."
        ) from None


def as_logits(value: Any, /, *, name: str) -> Array | np.ndarray:
    """Returns logits for a softmax over the last axis, or raises with the name.

    Numbers from the host that are not exact as floats are returned relative to the
    largest of their row, subtracted in their own precision. Differences that are too
    large for a float become the lowest float.
    """
    host = on_host({name: value})
    if host is None:
        return as_real(value, name=name)
    (logits,) = in_common(host)
    if not logits.ndim or not logits.size:
        return as_jax_dtype(logits, name)
    largest = np.where(are_finite(logits), logits, -np.inf).max(-1, keepdims=True)
    below = _less(logits, np.where(are_finite(largest), largest, 0))
    lowest = float(np.finfo(default_float()).min)
    impossible = below == -np.inf
    below = np.where(below < lowest, lowest, below)
    return as_jax_dtype(np.where(impossible, -np.inf, below), name)


def _less(values: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """``values - origin`` where values are finite; others are not changed.

    Fractions may be too large to be compared with infinity after a conversion.
    """
    finite = are_finite(values)
    return np.where(finite, np.where(finite, values, 0) - origin, values)


def _ranked(arrays: Sequence[Any]) -> tuple[Any, ...]:
    """Float32 numbers in the order of the entries: the smallest normal ones.

    Positive floats have the order of their bits, so that there is one for each rank.
    """
    if isinstance(arrays[0], jax.Array):
        return _ranked_on_device(arrays)
    floats = _by_rank(np.concatenate([array.ravel() for array in arrays]))
    parts = np.split(floats, np.cumsum([array.size for array in arrays])[:-1])
    return tuple(p.reshape(a.shape) for p, a in zip(parts, arrays, strict=True))


def _by_rank(values: np.ndarray) -> np.ndarray:
    known = np.asarray(values == values, bool)  # NaN is not equal to itself
    ranks = np.unique(values[known], return_inverse=True)[1].ravel()
    floats = np.full(values.shape, np.nan, np.float32)
    floats[known] = (ranks + _FIRST_NORMAL).astype(np.int32).view(np.float32)
    return floats


def _ranked_on_device(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """:func:`_ranked` for integers on the device; sizes may be symbolic, in export."""
    values = jnp.concatenate([jnp.ravel(array) for array in arrays])
    order = jnp.argsort(values)
    ascending = values[order]
    position = jnp.arange(values.shape[0], dtype=jnp.int32)
    rises = ascending != ascending[jnp.maximum(position - 1, 0)]
    ranks = jnp.cumsum(rises, dtype=jnp.int32)[jnp.argsort(order)]
    floats = lax.bitcast_convert_type(ranks + _FIRST_NORMAL, jnp.float32)
    parts, start = [], 0
    for array in arrays:
        parts.append(floats[start : start + array.size].reshape(array.shape))
        start += array.size
    return tuple(parts)


def _integer_difference(a: Any, b: Any) -> Array:
    """The difference of integers as a float, exact if it is small, else rounded."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    apart = a.astype(default_float()) - b.astype(default_float())
    signed = jnp.int32 if a.dtype.itemsize == 4 else jnp.int64
    exact = (a - b).astype(signed).astype(default_float())  # right modulo 2**32
    return jnp.where(jnp.abs(apart) < 2.0**30, exact, apart)
