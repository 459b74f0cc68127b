"""Masks that drop an exact number, and how many that is for a rate."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import prng
from jaxdrop._checks import (
    as_count,
    check_axis,
    check_rate,
    check_shape,
    check_sharding,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._masks._axes import unspread
from jaxdrop._masks._draw import keep_probability
from jaxdrop._numbers import as_numbers
from jaxdrop._sites import site
from jaxdrop._typing import Array, Key, Rate


@named
def exact(
    key: Key,
    shape: tuple[int, ...],
    /,
    *,
    num_dropped: int | Array,
    axis: int = -1,
    out_sharding: Any = None,
) -> Array:
    """Drops exactly ``num_dropped`` entries along an axis, all choices equally likely.

    Masks with different numbers under one key are nested.

    Args:
      key: a PRNG key.
      shape: the shape of the mask. Static.
      num_dropped: how many are dropped: a number, or a traced integer, of which one
        out of range drops none or all.
      axis: the axis along which entries are counted. Static.
      out_sharding: the sharding of the mask on an explicit mesh. Static.

    Returns:
      A boolean mask of the given shape.

    Raises:
      ValueError: if ``num_dropped`` or ``axis`` is out of range.
      TypeError: if ``num_dropped`` is not an integer.

    Examples:
      >>> import jax, jaxdrop
      >>> mask = jaxdrop.masks.exact(jax.random.key(0), (4, 10), num_dropped=3)
      >>> mask.sum(axis=-1).tolist()
      [7, 7, 7, 7]
    """
    key = require_key(key, instead="")
    shape = check_shape(shape)
    along = check_axis(axis, len(shape), name="axis")
    if hasattr(num_dropped, "__jax_array__"):
        held: Any = as_numbers(num_dropped, "num_dropped")
        num_dropped = held
    if not isinstance(num_dropped, jax.Array):
        num_dropped = as_count(num_dropped, name="num_dropped", least=None)
        if not 0 <= num_dropped <= shape[along]:
            raise ValueError(
                f"num_dropped must be in [0, {shape[along]}], got {num_dropped}."
            )
    elif not jnp.issubdtype(num_dropped.dtype, jnp.integer):
        raise TypeError(f"num_dropped must be an integer, got {num_dropped.dtype}.")
    elif num_dropped.ndim:
        raise ValueError(
            f"num_dropped must be a scalar, got an array of shape {num_dropped.shape}; "
            "use jax.vmap for several numbers."
        )
    check_sharding(out_sharding)
    return _exact(key, num_dropped, shape=shape, axis=along, out_sharding=out_sharding)


@site(
    "jaxdrop.masks.exact",
    draws="noise",
    acts_on="bits",
    static=("shape", "axis", "out_sharding"),
)
def _exact(
    key: Key, num_dropped: Any, *, shape: tuple[int, ...], axis: int, out_sharding: Any
) -> Array:
    whole = unspread(out_sharding, (axis,), ndim=len(shape))
    bits = prng.random_bits(key, shape, out_sharding=whole)
    rank = jnp.argsort(jnp.argsort(bits, axis=axis), axis=axis)
    mask = rank.astype(jnp.int32) < shape[axis] - _as_int32(num_dropped)
    if out_sharding is None:
        return mask
    return jax.sharding.reshard(mask, out_sharding)


def _as_int32(num_dropped: Any) -> Array:
    """A number of entries in int32, limited to its range, which no axis exceeds."""
    number = jnp.asarray(num_dropped)
    most = min(int(jnp.iinfo(number.dtype).max), 2**31 - 1)
    return jnp.clip(number, 0, most).astype(jnp.int32)


def kept_indices(
    key: Key, shape: tuple[int, ...], /, *, num_kept: int, out_sharding: Any = None
) -> Array:
    """Where :func:`exact` keeps along the last axis, in ascending order.

    Args:
      key: one PRNG key.
      shape: the shape of the mask. Static.
      num_kept: how many entries are kept, ``shape[-1] - num_dropped``. Static.
      out_sharding: the sharding of the mask on an explicit mesh, whose last axis is
        whole. Static.

    Returns:
      An int32 array ``(*shape[:-1], num_kept)``.
    """
    bits = prng.random_bits(key, shape, out_sharding=out_sharding)
    first = jnp.argsort(bits, axis=-1)[..., :num_kept]
    return jnp.sort(first, axis=-1).astype(jnp.int32)


def kept_count(
    size: int,
    /,
    *,
    rate: Rate,
    deterministic: bool,
    axis: str,
    instead: str,
) -> int:
    """How many of ``size`` a static rate keeps: the nearest number, and one at least.

    Only rate 1 keeps none.

    Args:
      size: of how many.
      rate: the share that is dropped, a number.
      deterministic: keep all.
      axis: the argument that says along which axis ``size`` is counted.
      instead: what errors recommend.

    Raises:
      ValueError: if ``rate`` is out of range, or ``size`` is symbolic.
      TypeError: if ``rate`` is not a number: an array cannot decide a shape.
    """
    if isinstance(rate, jax.Array):
        raise TypeError(
            "rate decides a shape and must be a Python number, got a JAX array; for a "
            f"traced rate use {instead}."
        )
    check_rate(rate)
    keep = keep_probability(rate, deterministic=deterministic)
    if keep == 1:
        return size
    if jax.export.is_symbolic_dim(size):
        raise ValueError(
            f"rate decides how many are kept along {axis}, whose size must be known, "
            f"got the symbolic {size}; export with a number, or use {instead}."
        )
    return min(size, max(int(keep * size + 0.5), 1 if keep > 0 else 0))
