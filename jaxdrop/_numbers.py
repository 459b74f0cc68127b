"""The one door for numbers that come from the host: Python, NumPy, lists, pandas.

JAX converts them to 32 bits unless x64 is enabled: int64 wraps, Python integers from
``2**31`` on raise without naming an argument, and float64 values become equal. A
function that takes data passes each argument through one of these first, under the
argument's name:

* :func:`as_array`: for any use. Integers that do not fit become floats and never wrap;
  floats are rounded; what is too large for a float raises.
* :func:`as_labels`: for class labels. What no int32 holds becomes -1, which names no
  class.
* :func:`in_order`: where only the order counts, as in ranks and comparisons. Values
  that float32 cannot tell apart are replaced by their ranks.
* :func:`relative`: where only differences count, as in errors and widths. They are
  taken in the precision of the arguments, and then rounded.
* :func:`as_logits`: for what goes into a softmax; relative to the largest logit.
* :func:`as_scalar`: for one number that is a parameter, and not data.

JAX arrays, traced or not, are returned as they are, and so is everything in x64 mode
that 64 bits hold. Beside a traced array host numbers are rounded to floats, because
nothing can be compared or subtracted before the program runs. Decimals, fractions and
integers of any size are taken as exact values.
"""

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._typing import Array

_INT32 = np.iinfo(np.int32)
_LOW_BITS = 20  # of a count in two parts


def as_array(value: Any, /, *, name: str) -> Array | np.ndarray:
    """Returns numbers in a dtype that JAX takes unchanged, or raises by name.

    Args:
      value: a JAX array, which is returned as it is, or numbers from the host.
      name: the argument that errors name.

    Returns:
      A JAX array, or a NumPy array. Floats are at most as wide as JAX's default float.
      Integers that JAX's default integer does not hold are floats.

    Raises:
      TypeError: if ``value`` does not hold numbers.
      ValueError: if a finite number is too large for a float, or entries are masked.
    """
    on_device = _on_device(value, name)
    if on_device is not None:
        return on_device
    return _as_jax_dtype(as_host(value, name), name)


def as_labels(value: Any, /, *, name: str) -> Array | np.ndarray:
    """Returns labels as int32, or bools as they are; -1 for what int32 does not hold.

    Raises:
      TypeError: if ``value`` does not hold integers or bools.
    """
    labels = _either(value, name)
    if labels.dtype == bool:
        return labels
    whole = None
    if isinstance(labels, np.ndarray) and _is_object(labels):
        whole = all(v.denominator == 1 for v in labels.flat)
    if not (whole or jnp.issubdtype(labels.dtype, jnp.integer)):
        kind = "other numbers" if whole is False else f"an array of {labels.dtype}"
        raise TypeError(f"{name} must be integers, got {kind}.")
    where = np.where if isinstance(labels, np.ndarray) else jnp.where
    if labels.dtype.itemsize < 4:  # a narrow dtype holds fewer numbers than classes
        return labels.astype(np.int32)
    named = (labels >= 0) & (labels <= _INT32.max)
    return where(named, where(named, labels, 0).astype(np.int32), np.int32(-1))


def in_order(**arrays: Any) -> tuple[Array | np.ndarray, ...]:
    """Returns arrays whose values compare as those of the arguments do.

    Args:
      **arrays: arrays that are compared with each other, by their names.

    Returns:
      For each argument the numbers themselves if a float holds all of them exactly.
      Otherwise int32 ranks among the values of all arguments, from 0; -1 for NaN.
    """
    host = _on_host(arrays)
    if host is None:
        return tuple(as_array(value, name=name) for name, value in arrays.items())
    common = _common(host)
    values = np.concatenate([array.ravel() for array in common])
    known = np.asarray(values == values, bool)  # NaN is not equal to itself
    ranks = np.full(values.shape, -1, np.int32)
    ranks[known] = np.unique(values[known], return_inverse=True)[1].ravel()
    ends = np.cumsum([array.size for array in common])[:-1]
    return tuple(
        part.reshape(array.shape)
        for part, array in zip(np.split(ranks, ends), common, strict=True)
    )


def relative(**arrays: Any) -> tuple[Array | np.ndarray, ...]:
    """Returns arrays whose differences are those of the arguments.

    Args:
      **arrays: arrays of one shape, or numbers, that are subtracted from each other, by
        their names.

    Returns:
      The numbers themselves if a float holds all of them exactly; otherwise less the
      first argument, subtracted in the precision of the arguments. An entry of the
      first that is not finite is not subtracted.
    """
    host = _on_host(arrays)
    shapes = {array.shape for array in (host or {}).values() if array.ndim}
    if host is None or len(shapes) > 1:
        return tuple(as_array(value, name=name) for name, value in arrays.items())
    first, *_ = values = _common(host)
    origin = first if _is_object(first) else np.where(np.isfinite(first), first, 0)
    return tuple(
        _as_jax_dtype(np.asarray(value - origin), name)
        for name, value in zip(arrays, values, strict=True)
    )


def as_logits(value: Any, /, *, name: str) -> Array | np.ndarray:
    """Returns logits for a softmax over the last axis, or raises by name.

    Numbers from the host that a float does not hold exactly are returned relative to
    the largest of their row, subtracted in their own precision. Those that are too far
    below it for a float are as low as a float can be.
    """
    host = _on_host({name: value})
    if host is None:
        return as_array(value, name=name)
    (logits,) = _common(host)
    if not logits.ndim or not logits.size:
        return _as_jax_dtype(logits, name)
    largest = logits.max(-1, keepdims=True)
    if not _is_object(logits):
        largest = np.where(np.isfinite(largest), largest, 0)
    below = np.asarray(logits - largest)
    lowest = float(np.finfo(_float()).min)
    impossible = below == -np.inf
    below = np.where(below < lowest, lowest, below)
    return _as_jax_dtype(np.where(impossible, -np.inf, below), name)


def as_scalar(value: Any, /, *, name: str) -> Array | float:
    """Returns a JAX scalar as it is, or another number as a Python float.

    Raises:
      TypeError: if ``value`` is not a real number; a bool is not.
      ValueError: if it is an array with axes, or too large for a float.
    """
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    scalar = _either(value, name)
    if scalar.dtype == bool or jnp.issubdtype(scalar.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be a real number, got {value!r}.")
    if scalar.ndim:
        raise ValueError(
            f"{name} must be a scalar, got an array of shape {scalar.shape}."
        )
    return scalar if isinstance(scalar, jax.Array) else float(_as_float64(scalar, name))


def as_host(value: Any, name: str, /) -> np.ndarray:
    """Returns numbers from the host as a NumPy array in their own precision.

    Decimals, fractions, and integers beyond 64 bits are an array of fractions, or of
    float64 if one of them is not finite.

    Raises:
      TypeError: if ``value`` does not hold numbers.
      ValueError: if it is an array with masked entries.
    """
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} has masked entries, which JAX would read as numbers; fill them, "
            "for example with np.ma.filled."
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a ragged list, or an object that cannot be read
        raise _not_numbers(name, value) from None
    if array.dtype == np.float64 and isinstance(value, list | tuple):
        rounded = np.abs(array) >= 2.0**53  # integers beyond 64 bits, or beside floats
        array = np.asarray(value, object) if rounded.any() else array
    if _is_object(array):
        return _exact(array, name, value)
    if array.dtype != bool and not jnp.issubdtype(array.dtype, jnp.number):
        raise _not_numbers(name, value)
    return array


def share_of_true(flags: Array, axes: tuple[int, ...], /) -> Array:
    """Returns the share of true entries over ``axes`` in float32; NaN of none.

    The count is exact for any size: what int32 does not hold is carried in two parts.
    """
    size = math.prod(flags.shape[axis] for axis in axes)
    if size <= _INT32.max:
        count = jnp.sum(flags, axis=axes, dtype=jnp.int32).astype(jnp.float32)
    else:
        parts = (flags.astype(jnp.int32), jnp.zeros(flags.shape, jnp.int32))
        zero = jnp.int32(0)
        low, high = lax.reduce(parts, (zero, zero), _add_with_carry, axes)
        count = low.astype(jnp.float32) + high.astype(jnp.float32) * (1 << _LOW_BITS)
    return count / (float(size) or jnp.nan)


def _add_with_carry(
    a: tuple[Array, Array], b: tuple[Array, Array]
) -> tuple[Array, Array]:
    total = a[0] + b[0]
    return total & ((1 << _LOW_BITS) - 1), a[1] + b[1] + (total >> _LOW_BITS)


def _on_device(value: Any, name: str) -> Array | None:
    """A JAX array, or what holds one, as a JAX array; None for what is on the host."""
    if isinstance(value, jax.Array):
        return value
    of_arrays = isinstance(value, list | tuple) and any(
        isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)
    )
    if not (of_arrays or hasattr(value, "__jax_array__")):
        return None
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise _not_numbers(name, value) from None


def _either(value: Any, name: str) -> Array | np.ndarray:
    on_device = _on_device(value, name)
    return as_host(value, name) if on_device is None else on_device


def _float() -> np.dtype:
    """JAX's default float: float32, or float64 in x64 mode."""
    return np.dtype(jnp.result_type(float))


def _is_object(array: Any) -> bool:
    return array.dtype == object


def _on_host(arrays: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """All arrays on the host; None if one cannot be read, or floats hold them all."""
    if all(isinstance(value, jax.Array) for value in arrays.values()):
        return None
    either = {name: _either(value, name) for name, value in arrays.items()}
    for name, array in either.items():
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise TypeError(
                f"{name} must hold real numbers, got an array of {array.dtype}."
            )
    if not all(map(_is_readable, either.values())):
        return None
    host = {name: np.asarray(array) for name, array in either.items()}
    return None if all(map(_is_held, host.values())) else host


def _is_readable(array: Array | np.ndarray) -> bool:
    if not isinstance(array, jax.Array):
        return True
    return not isinstance(array, jax.core.Tracer) and array.is_fully_addressable


def _is_held(array: np.ndarray) -> bool:
    """True if JAX's default float holds every entry exactly."""
    if array.dtype == bool or not array.size:
        return True
    if _is_object(array):
        return False
    limits = np.finfo(_float())
    if jnp.issubdtype(array.dtype, jnp.integer):
        most = 2 ** (limits.nmant + 1)
        return -most <= int(array.min()) and int(array.max()) <= most
    if array.dtype.itemsize <= _float().itemsize:
        return True
    size = np.abs(array)
    normal = (size >= limits.tiny) & (size <= limits.max) | (array == 0)
    rounded = np.where(normal, array, 0).astype(_float()).astype(array.dtype)
    return bool(np.all((rounded == array) | ~np.isfinite(array)))


def _common(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Arrays in one dtype in which they compare and subtract without rounding."""
    native = {name: _native(array) for name, array in arrays.items()}
    if not any(map(_is_beyond_float64, native.values())):
        wide = np.result_type(np.float64, *(a.dtype for a in native.values()))
        return [a.astype(wide) for a in native.values()]
    if any(not _is_object(a) and not np.isfinite(a).all() for a in native.values()):
        return [_as_float64(a, name) for name, a in native.items()]
    return [_fractions(a) for a in native.values()]


def _is_beyond_float64(array: np.ndarray) -> bool:
    """True for objects, and for integers that float64 does not hold exactly."""
    if _is_object(array):
        return True
    whole = array.dtype.kind in "iu" and array.size > 0
    return whole and max(-int(array.min()), int(array.max())) > 2**53


def _native(array: np.ndarray) -> np.ndarray:
    """An array of a dtype that NumPy itself has: bfloat16 becomes float32."""
    custom = array.dtype.kind == "V" or array.dtype.num >= 256
    return array.astype(np.float32) if custom else array


def _fractions(array: np.ndarray) -> np.ndarray:
    """Exact numbers: Python integers where the dtype is one of integers."""
    exact = np.empty(array.size, object)
    entries = array.ravel().tolist()
    whole = array.dtype.kind in "iub"
    exact[:] = entries if whole else [Fraction(v) for v in entries]
    return exact.reshape(array.shape)


def _exact(array: np.ndarray, name: str, value: Any) -> np.ndarray:
    """Objects as fractions, or as float64 if one of them is not finite."""
    entries = [v.item() if isinstance(v, np.generic) else v for v in array.ravel()]
    if not all(isinstance(v, Real | Decimal) for v in entries):
        raise _not_numbers(name, value)
    flat = np.empty(array.size, object)
    flat[:] = entries
    plain: np.ndarray = flat.reshape(array.shape)
    try:
        return _fractions(plain)
    except (ValueError, OverflowError):  # of NaN and infinity
        return _as_float64(plain, name)


def _as_float64(array: np.ndarray, name: str) -> np.ndarray:
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(
            f"{name} holds a number that is too large for a float."
        ) from None


def _as_jax_dtype(array: np.ndarray, name: str) -> np.ndarray:
    """Host numbers as bools, integers or floats that JAX does not convert again."""
    if array.dtype == bool:
        return array
    limits = np.iinfo(jnp.result_type(int))
    if jnp.issubdtype(array.dtype, jnp.integer):
        if jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype:
            return array
        if not array.size or (
            int(array.min()) >= limits.min and int(array.max()) <= limits.max
        ):
            return array.astype(limits.dtype)
    elif jnp.issubdtype(array.dtype, jnp.complexfloating):
        return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    elif not _is_object(array) and array.dtype.itemsize <= _float().itemsize:
        return array
    wide = _as_float64(array, name) if _is_object(array) else array
    largest = np.finfo(_float()).max
    too_large = np.isfinite(wide) & (np.abs(wide) > largest)
    if too_large.any():
        raise ValueError(
            f"{name} holds {wide[too_large].ravel()[0]:g}, and {_float()} ends at "
            f"{largest:g}; rescale it, or enable x64."
        )
    return wide.astype(_float())


def _not_numbers(name: str, value: Any) -> TypeError:
    return TypeError(f"{name} must be an array of numbers, got {value!r}.")
