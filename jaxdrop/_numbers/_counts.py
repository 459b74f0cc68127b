"""Counts beyond the range of int32."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._typing import Array

_INT32 = np.iinfo(np.int32)
_LOW_BITS = 20  # of a count in two parts


def share_of_true(flags: Array, axes: tuple[int, ...], /) -> Array:
    """Returns the share of true entries over ``axes`` in float32; NaN for no entries.

    The count is exact for any size: beyond int32 it is carried in two parts. Only for
    symbolic sizes, in ``jax.export``, it is a sum in float32.
    """
    sizes = [flags.shape[axis] for axis in axes]
    if any(map(jax.export.is_symbolic_dim, sizes)):
        return jnp.mean(flags, axis=axes, dtype=jnp.float32)
    held = sum(size <= _INT32.max for size in np.cumprod(sizes, dtype=object))
    first, rest = axes[:held], axes[held:]
    count = jnp.sum(flags, axis=first, keepdims=True, dtype=jnp.int32)
    if rest:
        zero, low_bits = jnp.int32(0), (1 << _LOW_BITS) - 1

        def add(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
            low = a[0] + b[0]
            return low & low_bits, a[1] + b[1] + (low >> _LOW_BITS)

        parts = (count & low_bits, count >> _LOW_BITS)
        low, high = lax.reduce(parts, (zero, zero), add, rest)
        count = low.astype(jnp.float32) + high.astype(jnp.float32) * (1 << _LOW_BITS)
    shape = [size for axis, size in enumerate(flags.shape) if axis not in axes]
    share = count.astype(jnp.float32) / (float(math.prod(sizes)) or jnp.nan)
    return share.reshape(shape)
