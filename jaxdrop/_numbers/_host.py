"""Numbers on the host: reading them exactly, and converting them to dtypes of JAX."""

from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._errors import shown
from jaxdrop._typing import Array


def as_host(value: Any, name: str, /) -> np.ndarray:
    """Returns numbers from the host as a NumPy array in their own precision.

    Decimals, fractions, and integers beyond 64 bits become an array of Python integers
    and fractions, with floats for NaN and infinity.

    Raises:
      TypeError: if ``value`` does not hold numbers.
      ValueError: if it is an array with masked entries.
    """
    if _is_masked(value):
        raise ValueError(
            f"{name} has masked entries, which JAX would read as numbers; fill them, "
            "for example with np.ma.filled."
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a ragged list, or an object that cannot be read
        raise _not_numbers(name, value) from None
    if not array.size and isinstance(value, list | tuple):
        return array.astype(np.int32)  # which an empty list of labels is as well
    if array.dtype == np.float64 and isinstance(value, list | tuple):
        rounded = np.abs(array) >= 2.0**53  # integers beyond 64 bits, or beside floats
        array = np.asarray(value, object) if rounded.any() else array
    if is_object(array):
        return _exact(array, name, value)
    if not is_numeric(array.dtype):
        raise _not_numbers(name, value)
    return array


def is_numeric(dtype: np.dtype, /) -> bool:
    """Whether NumPy's dtype is one that JAX takes: not of text, dates or objects."""
    if dtype.kind == "m":  # differences of dates, which NumPy counts as integers
        return False
    return dtype.kind == "b" or jnp.issubdtype(dtype, jnp.number)


def _is_masked(value: Any) -> bool:
    """Whether an array, or one in a list, has masked entries."""
    parts = jax.tree.leaves(value) if isinstance(value, list | tuple) else [value]
    return any(
        np.ma.is_masked(part) for part in parts if isinstance(part, np.ma.MaskedArray)
    )


def on_host(arrays: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """All arrays on the host; None if one is not readable or all are exact floats."""
    if all(isinstance(value, jax.Array) for value in arrays.values()):
        return None
    found = {name: as_numbers(value, name) for name, value in arrays.items()}
    for name, array in found.items():
        refuse_complex(array, name)
    if not all(map(_is_readable, found.values())):
        return None
    if all(map(_is_held, found.values())):  # without reading floats on a device
        return None
    return {name: np.asarray(array) for name, array in found.items()}


def _is_readable(array: Array | np.ndarray) -> bool:
    if not isinstance(array, jax.Array):
        return True
    return not isinstance(array, jax.core.Tracer) and array.is_fully_addressable


def as_numbers(value: Any, name: str, /) -> Array | np.ndarray:
    """Returns a JAX array, or numbers from the host in their own precision.

    An object with ``__jax_array__``, such as a variable of Flax, may hold either. Of a
    list that holds both, arrays are read on the host if they can be.
    """
    given = value
    if hasattr(value, "__jax_array__") and not isinstance(value, jax.Array):
        value = value.__jax_array__()
    if isinstance(value, list | tuple):
        leaves = jax.tree.leaves(value)
        arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
        if arrays and len(arrays) < len(leaves) and all(map(_is_readable, arrays)):
            value = jax.tree.map(_read, value)
        elif arrays:
            value = _stacked(value, name)
    if not isinstance(value, jax.Array):
        return as_host(value, name)
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise _not_numbers(name, given)
    return value


def _read(leaf: Any) -> Any:
    return np.asarray(leaf)[()] if isinstance(leaf, jax.Array) else leaf


def _stacked(value: list[Any] | tuple[Any, ...], name: str) -> Array:
    """A list of JAX arrays, or of these and numbers from the host, as a JAX array."""

    def entered(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return leaf
        return as_jax_dtype(as_host(leaf, name), name)

    try:
        return jnp.asarray(jax.tree.map(entered, value))
    except (TypeError, ValueError):
        raise _not_numbers(name, value) from None


def _is_held(array: Array | np.ndarray) -> bool:
    """Whether every entry is exact in JAX's default float."""
    if array.dtype == bool or not array.size:
        return True
    if is_object(array):
        return False
    limits = np.finfo(default_float())
    if jnp.issubdtype(array.dtype, jnp.integer):
        most, array = 2 ** (limits.nmant + 1), np.asarray(array)
        return -most <= int(array.min()) and int(array.max()) <= most
    if array.dtype.itemsize <= default_float().itemsize:
        return True
    size = np.abs(array)
    normal = (size >= limits.tiny) & (size <= limits.max) | (array == 0)
    rounded = np.where(normal, array, 0).astype(default_float()).astype(array.dtype)
    return bool(np.all((rounded == array) | ~np.isfinite(array)))


def may_round(dtype: np.dtype) -> bool:
    """Whether integers of a dtype may not be exact in JAX's default float."""
    wide = jnp.issubdtype(dtype, jnp.integer) and dtype.itemsize >= 4
    return wide and dtype.itemsize >= default_float().itemsize


def in_common(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Arrays in a common dtype in which they can be compared and subtracted exactly."""
    native = {name: _native(array) for name, array in arrays.items()}
    if not any(map(_is_beyond_float64, native.values())):
        wide = np.result_type(np.float64, *(a.dtype for a in native.values()))
        return [a.astype(wide) for a in native.values()]
    return [_fractions(a) for a in native.values()]


def _is_beyond_float64(array: np.ndarray) -> bool:
    """Whether an array has objects, or integers that are not exact in float64."""
    if is_object(array):
        return True
    whole = array.dtype.kind in "iu" and array.size > 0
    return whole and max(-int(array.min()), int(array.max())) > 2**53


def _native(array: np.ndarray) -> np.ndarray:
    """An array in a dtype of NumPy itself: bfloat16 becomes float32."""
    custom = array.dtype.kind == "V" or array.dtype.num >= 256
    return array.astype(np.float32) if custom else array


def _fractions(array: np.ndarray) -> np.ndarray:
    """Exact numbers: Python integers for integer dtypes, else fractions.

    NaN and infinity remain floats, which Python compares exactly with any number.
    """
    exact = np.empty(array.size, object)
    entries = array.ravel().tolist()
    whole = array.dtype.kind in "iub"
    exact[:] = entries if whole else [_fraction(v) for v in entries]
    return exact.reshape(array.shape)


def _fraction(number: Any) -> Fraction | float:
    if isinstance(number, Decimal) and number.is_snan():
        return float("nan")  # a signaling NaN raises if it is converted
    finite = number.is_finite() if isinstance(number, Decimal) else number - number == 0
    return Fraction(number) if finite else float(number)


def are_finite(array: np.ndarray) -> np.ndarray:
    """Which entries are finite, for arrays of objects as well."""
    if not is_object(array):
        return np.isfinite(array)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return np.asarray(array - array == 0, bool)


def _exact(array: np.ndarray, name: str, value: Any) -> np.ndarray:
    """Objects as fractions, or as floats if they are not finite."""
    entries = [v.item() if isinstance(v, np.generic) else v for v in array.ravel()]
    if not all(isinstance(v, Real | Decimal) for v in entries):
        raise _not_numbers(name, value)
    flat = np.empty(array.size, object)
    flat[:] = entries
    exact = _fractions(flat.reshape(array.shape))
    return exact if are_finite(exact).any() else exact.astype(np.float64)


def as_float64(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers as float64, or an error if an exact one is larger than all floats."""
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(
            f"{name} holds a number that is too large for a float."
        ) from None


def as_floats(value: Any, /, *, name: str) -> np.ndarray:
    """Returns real numbers as float64 on the host, or raises with the name."""
    array = as_host(value, name)
    refuse_complex(array, name)
    return as_float64(array, name)


def refuse_complex(array: Array | np.ndarray, name: str) -> None:
    """Raises for complex numbers, which have no order."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(
            f"{name} must hold real numbers, got an array of {array.dtype}."
        )


def as_jax_dtype(array: np.ndarray, name: str) -> np.ndarray:
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
    elif not is_object(array) and array.dtype.itemsize <= default_float().itemsize:
        return array
    wide = as_float64(array, name) if is_object(array) else array
    largest = np.finfo(default_float()).max
    too_large = np.isfinite(wide) & (np.abs(wide) > largest)
    if too_large.any():
        raise ValueError(
            f"{name} holds {wide[too_large].ravel()[0]:g}, and the largest "
            f"{default_float()} is {largest:g}; rescale it, or enable x64."
        )
    return wide.astype(default_float())


def _not_numbers(name: str, value: Any) -> TypeError:
    return TypeError(f"{name} must be an array of numbers, got {shown(value)}.")


def default_float() -> np.dtype:
    """JAX's default float: float32, or float64 in x64 mode."""
    return np.dtype(jnp.result_type(float))


def is_object(array: Any) -> bool:
    return bool(array.dtype == object)
