"""The arguments of attention: checks, and arrays reshaped to four axes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdrop import _masks
from jaxdrop._checks import check_axes, check_choice, check_real, is_whole
from jaxdrop._numbers import as_array, as_numbers, as_scalar
from jaxdrop._typing import Array, Axes

MOST_FEATURES = 256  # of a head, for which kernels apply
_KERNELS = ("pallas", "mosaic_gpu")  # implementations that ask for kernels
_LEAST_BLOCK = 16  # the smallest matrix product of tensor cores


class Arguments(NamedTuple):
    """Arrays of attention in the layouts of ``jax.nn``.

    Attributes:
      query: ``(batch, queries, heads, features)``.
      key: ``(batch, keys, key heads, features)``.
      value: like ``key``.
      bias: broadcasts to ``(batch, heads, queries, keys)``; or None.
      mask: likewise, boolean; or None.
    """

    query: Array
    key: Array
    value: Array
    bias: Array | None
    mask: Array | None

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """The shape of the attention weights."""
        batch, queries, heads, _ = self.query.shape
        return batch, heads, queries, self.key.shape[1]


class Options(NamedTuple):
    """The other arguments of a call, checked.

    Attributes:
      scale: the factor of the logits.
      is_causal: whether queries do not attend to later keys.
      query_lengths: the number of queries of each example, or None.
      key_lengths: the number of keys of each example, or None.
      window: how many keys to the left and right a query attends to, or None.
      block: the numbers of queries and of keys of a block, None to choose.
      shared: for each axis of the weights, whether one draw is shared along it.
      in_kernels: whether kernels are requested.
      mosaic_gpu: whether, for GPUs, those of Pallas' Mosaic GPU are requested.
      implementation: that of ``jax.nn``, where nothing is dropped.
    """

    scale: ArrayLike
    is_causal: bool
    query_lengths: Array | None
    key_lengths: Array | None
    window: tuple[int, int] | None
    block: tuple[int | None, int | None]
    shared: tuple[bool, ...]
    in_kernels: bool
    mosaic_gpu: bool
    implementation: Any


def check_options(
    arrays: Arguments,
    /,
    *,
    scale: Any,
    is_causal: Any,
    lengths: tuple[Any, Any],
    window: Any,
    broadcast_dims: Axes,
    ndim: int,
    block_size: Any,
    implementation: Any,
) -> Options:
    """Checks the arguments of a call other than its arrays.

    ``ndim`` is the rank of the query as given: ``broadcast_dims`` counts the axes of
    the weights, which have a batch axis if the query has one.
    """
    if implementation is not None:
        names = ("xla", "cudnn", *_KERNELS)
        check_choice(implementation, names, name="implementation")
    in_kernels = implementation in _KERNELS
    batch = arrays.weights[0]
    options = Options(
        scale=_check_scale(scale, arrays.query.shape[-1]),
        is_causal=_check_causal(is_causal),
        query_lengths=_check_lengths(lengths[0], batch, name="query_seq_lengths"),
        key_lengths=_check_lengths(lengths[1], batch, name="key_value_seq_lengths"),
        window=_check_window(window),
        block=_check_block(block_size),
        shared=_shared(broadcast_dims, ndim),
        in_kernels=in_kernels,
        mosaic_gpu=implementation == "mosaic_gpu",
        implementation=None if in_kernels else implementation,
    )
    if in_kernels:
        _check_kernel(arrays, options.block, implementation)
    return options


def check_arrays(
    query: Any, key: Any, value: Any, bias: Any, mask: Any, /
) -> Arguments:
    """Raises unless shapes and dtypes are consistent."""
    query, key, value = _check_kinds(query, key, value)
    query, key, value = (_masks.at_rank(x, 4) for x in (query, key, value))
    if value.shape != key.shape:
        raise ValueError(
            f"value must have the shape of key_, {key.shape}, got {value.shape}."
        )
    if (query.shape[0], query.shape[3]) != (key.shape[0], key.shape[3]):
        raise ValueError(
            "query and key_ must agree in batch and features, got shapes "
            f"{query.shape} and {key.shape}."
        )
    if 0 in key.shape[1:3] or query.shape[2] % key.shape[2]:
        raise ValueError(
            "key_ must have keys, and query a multiple of its number of heads, got "
            f"shapes {query.shape} and {key.shape}."
        )
    arguments = Arguments(query, key, value, None, None)
    bias = _check_weights(bias, arguments.weights, name="bias")
    if bias is not None and not jnp.issubdtype(bias.dtype, jnp.floating):
        raise TypeError(
            f"bias must be floating point, got {bias.dtype}; pass a boolean array as "
            "mask."
        )
    mask = _check_weights(mask, arguments.weights, name="mask")
    if mask is not None and mask.dtype != jnp.bool_:
        raise TypeError(
            f"mask must be boolean, True where attended to, got {mask.dtype}; pass an "
            "array that is added to the logits as bias."
        )
    return Arguments(query, key, value, bias, mask)


def check_known(arrays: Arguments, /) -> None:
    """Raises if a size other than the batch is symbolic: plans depend on the others."""
    for name, x in (("query", arrays.query), ("key_", arrays.key)):
        if any(jax.export.is_symbolic_dim(size) for size in x.shape[1:]):
            raise ValueError(
                f"only the batch of {name} may be symbolic, got shape {x.shape}; "
                "export with numbers for lengths, heads and features."
            )


def _check_kinds(query: Any, key: Any, value: Any) -> tuple[Array, Array, Array]:
    """Raises unless all arrays have the same number of axes and the same dtype."""
    query, key = check_real(query, name="query"), check_real(key, name="key_")
    value = check_real(value, name="value")
    if query.ndim not in (3, 4):
        raise ValueError(
            "query must have the axes ([batch], length, heads, features), got shape "
            f"{query.shape}."
        )
    for name, x in (("key_", key), ("value", value)):
        if x.ndim != query.ndim:
            raise ValueError(
                f"{name} must have as many axes as query, whose shape is "
                f"{query.shape}; got shape {x.shape}."
            )
        if x.dtype != query.dtype:
            raise TypeError(
                f"{name} must have query's dtype {query.dtype}, got {x.dtype}; cast "
                "with astype."
            )
    return query, key, value


def _check_weights(
    x: Any, weights: tuple[int, int, int, int], *, name: str
) -> Array | None:
    if x is None:
        return None
    x = jnp.asarray(as_array(x, name=name))
    if x.ndim > 4 or any(
        size not in (1, whole)
        for size, whole in zip(x.shape[::-1], weights[::-1], strict=False)
    ):
        raise ValueError(
            f"{name} must broadcast to (batch, heads, queries, keys) = {weights}, got "
            f"shape {x.shape}."
        )
    return _masks.at_rank(x, 4)


_ALL_KEYS = 2**31 - 1


def _check_lengths(lengths: Any, batch: int, /, *, name: str) -> Array | None:
    """Returns one int32 length for each example, or None for None."""
    if lengths is None:
        return None
    lengths = as_numbers(lengths, f"{name}")
    if isinstance(lengths, np.ndarray) and lengths.dtype.kind in "iuO":
        lengths = jnp.asarray(np.asarray(np.clip(lengths, 0, _ALL_KEYS), np.int32))
    if not jnp.issubdtype(lengths.dtype, jnp.integer) or lengths.shape != (batch,):
        raise ValueError(
            f"{name} must be {batch} integers, one for each example, got an array of "
            f"{lengths.dtype} of shape {lengths.shape}."
        )
    return lengths.astype(jnp.int32)


def _check_window(window: Any, /) -> tuple[int, int] | None:
    """Returns how many keys to its left and right a query attends to, or None."""
    if window is None:
        return None
    both = _pair(window, second=window)
    if len(both) != 2 or not all(map(is_whole, both)):
        raise ValueError(
            "local_window_size must be a number of keys, or two numbers, to the left "
            f"and to the right; got {window!r}."
        )
    return int(both[0]), int(both[1])


def _check_block(block_size: Any, /) -> tuple[int | None, int | None]:
    """Returns the numbers of queries and of keys of a block, None to choose."""
    if block_size is None:
        return None, None
    both = _pair(block_size, second=None)
    if len(both) != 2 or not all(n is None or is_whole(n, least=1) for n in both):
        raise ValueError(
            "block_size must be a number of queries, or two numbers, of queries and of "
            f"keys, at least 1; got {block_size!r}."
        )
    length, width = (None if n is None else int(n) for n in both)
    return length, width


def _pair(numbers: Any, *, second: Any) -> tuple[Any, ...]:
    """Several numbers as they are, or one number and a second."""
    several = isinstance(numbers, Sequence) or np.ndim(numbers)
    return tuple(numbers) if several else (numbers, second)


def _check_causal(is_causal: Any, /) -> bool:
    """Returns a Python bool, or raises: the computed blocks depend on it."""
    if isinstance(is_causal, bool | np.bool_):
        return bool(is_causal)
    raise TypeError(
        f"is_causal must be a bool, known before tracing, got {is_causal!r}; pass a "
        "condition that is traced as mask."
    )


def _check_kernel(
    arrays: Arguments, block: tuple[int | None, int | None], implementation: str
) -> None:
    """Raises if kernels are requested that exist on no platform for these arguments."""
    found = {
        "float64": arrays.query.dtype == jnp.float64,
        "a symbolic batch": jax.export.is_symbolic_dim(arrays.query.shape[0]),
        f"heads of more than {MOST_FEATURES} features": (
            arrays.query.shape[3] > MOST_FEATURES
        ),
    }
    for name, given in found.items():
        if given:
            raise ValueError(
                f'implementation="{implementation}" does not take {name}; use the '
                "default implementation."
            )
    for size in block:
        if size is not None and (size < _LEAST_BLOCK or size & (size - 1)):
            raise ValueError(
                f'block_size must be powers of two with implementation="'
                f'{implementation}", at least {_LEAST_BLOCK}; got {size}.'
            )


def _check_scale(scale: Any, features: int, /) -> ArrayLike:
    """Returns the factor of the logits: a number, or a JAX scalar."""
    if scale is None:
        return float(1 / np.sqrt(max(features, 1)))
    name = "scale"
    number = as_scalar(scale, name=name, remedy="; multiply query by it instead")
    as_array(number, name=name)  # raises for numbers that are too large for a float
    return number


def _shared(broadcast_dims: Axes, ndim: int) -> tuple[bool, ...]:
    """For each of the four axes of the weights, whether one draw is shared along it."""
    shared = check_axes(broadcast_dims, ndim, name="broadcast_dims")
    return tuple(axis - 4 + ndim in shared for axis in range(4))
