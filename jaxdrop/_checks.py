"""Checks before tracing, for arguments that many functions share.

Numbers are checked here and raise; JAX arrays, traced or not, are data and are not
read on the host. A check that concerns one function only lives with that function.
"""

import operator
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeGuard, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxdrop._errors import shown
from jaxdrop._numbers import as_array, as_host
from jaxdrop._typing import Array, Axes, Flag, Key, Rate

_T = TypeVar("_T")

_INT32_MAX = 2**31 - 1


def check_rate(rate: Rate, /, *, scalar: bool = True, name: str = "rate") -> None:
    """Raises unless ``rate`` is a number in ``[0, 1]`` or a JAX array of numbers."""
    if isinstance(rate, bool | np.bool_) or not (
        is_number(rate) or isinstance(rate, np.ndarray | jax.Array)
    ):
        raise TypeError(
            f"{name} must be a number in [0, 1] or an array of such, got {shown(rate)} "
            f"of type {type(rate).__name__}."
        )
    if isinstance(rate, np.ndarray | jax.Array) and not _is_real(rate):
        raise TypeError(f"{name} must hold real numbers, got an array of {rate.dtype}.")
    if scalar and np.ndim(rate) > 0:
        raise ValueError(
            f"{name} must be a scalar, got an array of shape {np.shape(rate)}. For one "
            f"{name} per example use jax.vmap."
        )
    if not isinstance(rate, jax.Array):
        with np.errstate(invalid="ignore"):  # of NaN in bfloat16
            inside = (np.asarray(rate) >= 0) & (np.asarray(rate) <= 1)
        if not inside.all():  # NaN is outside as well
            raise ValueError(
                f"{name} is the probability of dropping and must be in [0, 1], got "
                f"{rate}."
            )


def check_inexact(x: Any, /, *, name: str = "the input") -> Array:
    """Returns ``x`` as an array, or raises ``TypeError`` if it cannot be rescaled."""
    array: Any
    if isinstance(x, jax.Array):
        array = x
    elif isinstance(x, np.ndarray | np.generic | Real | complex):
        array = as_host(x, name)
        if jnp.issubdtype(array.dtype, jnp.inexact) or array.dtype == object:
            array = jnp.asarray(as_array(array, name=name))
    else:
        raise TypeError(
            f"{name} must be an array, got {type(x).__name__}; use jnp.asarray first."
        )
    if _is_key(array):
        raise TypeError(
            f"{name} must be an array of numbers, got a PRNG key; a function that "
            "draws takes its key as the first argument."
        )
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(
            f"{name} must be floating or complex, got {array.dtype}; cast it first, "
            "for example with x.astype(jnp.float32)."
        )
    checked: Array = array
    return checked


def check_real(x: Any, /, *, name: str = "the input") -> Array:
    """:func:`check_inexact`, and refuses complex numbers, which have no order."""
    array = check_inexact(x, name=name)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real and floating, got {array.dtype}.")
    return array


def require_key(
    key: Key | None,
    /,
    *,
    rate: Rate | None = None,
    instead: str = "deterministic=True; or a rate of 0",
) -> Key:
    """Returns ``key`` as one typed key, or raises.

    Args:
      key: the key, or None.
      rate: the rate of a function that drops everything at rate 1, whatever the key:
        there any key serves, and none is needed.
      instead: what the message names that may be passed instead of a key, if anything.
    """
    if key is None and is_one(rate):
        return jax.random.key(0)
    if key is None:
        other = f"; or pass {instead}" if instead else ""
        raise ValueError(
            "key must be a PRNG key, got None: pass a new one at every step, for "
            f"example jax.random.fold_in(key, step){other}."
        )
    if isinstance(key, np.ndarray) and key.dtype == np.uint32:
        key = jnp.asarray(key)
    if isinstance(key, jax.Array) and _is_key(key):
        typed, batch = key, key.shape
    elif isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.ndim > 0:
        typed, batch = _wrap(key), key.shape[:-1]
    else:
        got = f"an object of type {type(key).__name__}: {shown(key)}"
        if isinstance(key, np.ndarray | jax.Array):
            got = f"an array of shape {key.shape} and dtype {key.dtype}"
        raise TypeError(
            "key must be a PRNG key such as jax.random.key(0), or rngs.dropout() of "
            f"nnx.Rngs, got {got}."
        )
    if batch:
        raise ValueError(
            f"key must be one key, got an array of keys of shape {batch}; use jax.vmap "
            "to call with each of them."
        )
    return typed


def check_flag(deterministic: Flag, /) -> bool | Array:
    """Returns a Python bool or a scalar boolean array, or raises."""
    if isinstance(deterministic, np.ndarray) and deterministic.ndim == 0:
        deterministic = deterministic.item()
    if isinstance(deterministic, bool | np.bool_):
        return bool(deterministic)
    if isinstance(deterministic, Integral) and int(deterministic) in (0, 1):
        return bool(deterministic)
    if isinstance(deterministic, jax.Array) and not _is_key(deterministic):
        if deterministic.ndim:
            raise ValueError(
                f"deterministic must be a scalar, got shape {deterministic.shape}; use "
                "jax.vmap for one flag per example."
            )
        return deterministic.astype(bool)
    raise TypeError(
        f"deterministic must be a bool, got {shown(deterministic)} of type "
        f"{type(deterministic).__name__}."
    )


def is_identity(rate: Rate, deterministic: Flag, /) -> bool:
    """True where it is known before tracing that nothing can be dropped."""
    flag = check_flag(deterministic)
    return flag is True or is_zero(rate)


def is_number(rate: Any, /) -> TypeGuard[float]:
    """True for a Python or NumPy scalar, which is read; an array is data."""
    if isinstance(rate, np.generic) and rate.dtype.kind == "V":  # of ml_dtypes
        return _is_real(rate)
    return isinstance(rate, Real) or (
        isinstance(rate, np.ndarray) and rate.ndim == 0 and _is_real(rate)
    )


def is_zero(rate: Any, /) -> bool:
    """True for a number that is 0; an array is data and never known."""
    return _equals(rate, 0.0)


def is_one(rate: Any, /) -> bool:
    """True for a number that is 1; an array is data and never known."""
    return _equals(rate, 1.0)


def _equals(rate: Any, value: float) -> bool:
    try:
        return is_number(rate) and float(rate) == value
    except OverflowError:  # of an integer beyond all floats
        return False


def select(deterministic: Flag, in_evaluation: _T, in_training: _T, /) -> _T:
    """Chooses between two outputs: in Python for a bool, by ``where`` if traced."""
    if isinstance(deterministic, jax.Array):
        chosen: _T = jax.tree.map(
            lambda e, t: jnp.where(deterministic, e, t), in_evaluation, in_training
        )
        return chosen
    return in_evaluation if deterministic else in_training


def check_axes(axes: int | Iterable[int], ndim: int, /, *, name: str) -> Axes:
    """Returns distinct axes of an array of ``ndim`` axes, counted from the front."""
    each = _each(axes)
    positive = tuple(check_axis(axis, ndim, name=name) for axis in each)
    if len(set(positive)) != len(positive):
        raise ValueError(f"{name} names an axis twice: {each} of {ndim} axes.")
    return positive


def as_axes(axes: int | Iterable[int], /) -> Axes:
    """Axes as a tuple, which may be a static argument: one axis, or any iterable.

    What is not an integer stays as it is, for :func:`check_axes` to refuse.
    """
    return tuple(map(_index, _each(axes)))


def _index(axis: Any) -> Any:
    try:
        return as_index(axis)
    except TypeError:
        return axis


def as_index(value: Any, /) -> int:
    """An integer of any library as a Python int; ``TypeError`` for all else.

    Bools are refused: some releases of NumPy take theirs, with a warning.
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError
    return operator.index(value)


def _each(axes: Any) -> tuple[Any, ...]:
    try:
        return tuple(axes)
    except TypeError:  # one axis, as an integer or an array without axes
        return (axes,)


def check_axis(axis: int, ndim: int, /, *, name: str) -> int:
    """Returns one axis counted from the front, or raises naming the argument."""
    try:
        index = as_index(axis)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {shown(axis)}.") from None
    if not -ndim <= index < ndim:
        raise ValueError(f"{name}: axis {index} is out of bounds for rank {ndim}.")
    return index % ndim


def check_shape(shape: Any, /) -> tuple[int, ...]:
    """Returns a shape as a tuple, or raises naming the argument."""
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes):
        raise TypeError(
            f"shape must be a tuple of integers, got {shape!r}; for one axis write "
            "(n,)."
        )
    sizes = []
    for size in shape:
        if not jax.export.is_symbolic_dim(size):
            if not is_whole(size, least=None):
                raise TypeError(f"shape must hold integers, got {shape!r}.")
            size = int(size)
            if size < 0:
                raise ValueError(f"shape must not be negative, got {shape!r}.")
            if size >= 2**63:
                raise ValueError(f"shape must hold numbers below 2**63, got {shape!r}.")
        sizes.append(size)
    return tuple(sizes)


def as_count(
    value: Any,
    /,
    *,
    name: str,
    least: int | None = 1,
    most: int | None = _INT32_MAX,
) -> int:
    """Returns a number of things as a Python int, or raises naming the argument.

    Args:
      value: an integer.
      name: the argument.
      least: the smallest allowed; None for any.
      most: the largest allowed; None for any. Programs count in int32.
    """
    try:
        count = as_index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {shown(value)}.") from None
    if least is not None and count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}.")
    if most is not None and count > most:
        raise ValueError(f"{name} must be at most {most}, got {count}.")
    return count


def is_whole(value: Any, /, *, least: int | None = 0) -> bool:
    """True for an integer of Python, NumPy or JAX that is known and large enough."""
    try:
        as_count(value, name="", least=least, most=None)
    except (TypeError, ValueError):
        return False
    return True


def check_switch(value: Any, /, *, name: str) -> bool:
    """Returns a static switch as a Python bool, or raises naming the argument."""
    if isinstance(value, np.ndarray) and value.dtype == bool and not value.ndim:
        value = value.item()
    if isinstance(value, bool | np.bool_) or (
        isinstance(value, Integral) and int(value) in (0, 1)
    ):
        return bool(value)
    raise TypeError(
        f"{name} must be True or False, got {shown(value)} of type "
        f"{type(value).__name__}."
    )


def check_callable(function: Any, /, *, name: str) -> None:
    """Raises ``TypeError`` naming the argument unless it can be called."""
    if not callable(function):
        raise TypeError(
            f"{name} must be a function, got {shown(function)} of type "
            f"{type(function).__name__}."
        )


def check_sharding(sharding: Any, /) -> None:
    """Raises ``TypeError`` unless ``out_sharding`` is None or says how to spread."""
    if not isinstance(sharding, NamedSharding | PartitionSpec | None):
        raise TypeError(
            "out_sharding must be a NamedSharding, a PartitionSpec or None, got "
            f"{shown(sharding)} of type {type(sharding).__name__}."
        )


def check_broadcast(
    shape: Sequence[Any], target: Sequence[Any], /, *, name: str, of: str
) -> None:
    """Raises ``ValueError`` unless an array of ``shape`` broadcasts to ``target``."""
    aligned = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or any(n != m and n != 1 for n, m in aligned):
        raise ValueError(
            f"{name} has shape {tuple(shape)}, which does not broadcast to the shape "
            f"{tuple(target)} of {of}."
        )


def check_same_shape(a: Any, b: Any, /, *, names: str) -> None:
    """Raises ``ValueError`` naming both arguments unless their shapes are equal."""
    if a.shape != b.shape:
        raise ValueError(
            f"{names} must have the same shape, got {a.shape} and {b.shape}."
        )


def check_choice(choice: Any, choices: Sequence[str], /, *, name: str) -> None:
    """Raises ``ValueError`` naming the argument unless ``choice`` is offered."""
    if not isinstance(choice, str) or choice not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {shown(choice)}.")


def _is_key(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def _is_real(array: np.ndarray | np.generic | Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.number) and not jnp.issubdtype(
        array.dtype, jnp.complexfloating
    )


def _wrap(key: Array) -> Key:
    try:
        return jax.random.wrap_key_data(key)
    except TypeError as error:
        raise TypeError(
            f"key has shape {key.shape}, which is not the shape of a raw key of the "
            f"default generator ({error}). Make keys with jax.random.key."
        ) from None


def as_number(number: Any, /) -> Any:
    """A scalar of a dtype that NumPy does not know, such as bfloat16, as a float."""
    is_foreign = isinstance(number, np.generic) and not isinstance(number, Real)
    if is_foreign and jnp.issubdtype(number.dtype, jnp.floating):
        return float(number)
    return number


def as_static(knob: Any, /) -> Any:
    """A knob that can be hashed: integers of an array and lists become tuples."""
    if isinstance(knob, np.ndarray) and np.issubdtype(knob.dtype, np.integer):
        knob = knob.tolist()
    if isinstance(knob, list | tuple):
        return tuple(as_static(item) for item in knob)
    return knob
