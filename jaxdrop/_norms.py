"""Squares, moduli and norms of arrays, in float32 or wider.

None of them leaves the range of its dtype where the result is in it, and all have
gradients at 0.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._typing import Array, Axes


def widened(leaf: Array, /) -> Array:
    """``leaf`` in the precision in which it is added up: float32 or wider."""
    return leaf.astype(jnp.float32) if leaf.dtype.itemsize < 4 else jnp.asarray(leaf)


def as_precise(update: Array, leaf: Array, /) -> Array:
    """``update``, widened if its dtype holds fewer digits than that of ``leaf``.

    No update in bfloat16 moves a weight of 0.1 in float32 to 0.
    """
    kind = jnp.complexfloating if jnp.iscomplexobj(leaf) else jnp.inexact
    held = jnp.issubdtype(update.dtype, kind)
    if held and _digits(update) >= _digits(leaf):
        return update
    return update.astype(widened(leaf).dtype)


def _digits(array: Array) -> int:
    """How many binary digits a dtype has after the first."""
    return int(jnp.finfo(array.dtype).nmant)


def scaled(leaf: Array, factor: Array | float, /) -> Array:
    """``leaf`` times a real factor, in the dtype of ``leaf``."""
    return leaf * jnp.asarray(factor).astype(leaf.dtype)


def squared(leaf: Array, /) -> Array:
    """The squared moduli of the entries, real, in float32 or wider."""
    wide = widened(leaf)
    if jnp.iscomplexobj(wide):
        return jnp.square(wide.real) + jnp.square(wide.imag)
    return jnp.square(wide)


def moduli(leaf: Array, /) -> Array:
    """The moduli of the entries, in float32 or wider; at 0 the gradient is 0."""
    wide = widened(leaf)
    zero = wide == 0  # JAX's own derivative of the modulus is 1 there
    return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, wide)))


def norms(leaf: Array, axes: Axes, /) -> Array:
    """Euclidean norms over ``axes``, which stay; the gradient of a norm of 0 is 0."""
    unit, length = split_norms(leaf, axes)
    return unit * length


def split_norms(leaf: Array, axes: Axes, /) -> tuple[Array, Array]:
    """Norms as :func:`norms`, in two factors: a unit, and a length in this unit.

    The unit is 1 for a norm that the dtype holds, else a power of 2. Weights are
    divided by a power of 2 first, so that no square leaves the range.
    """
    wide = widened(leaf)
    largest = jnp.max(jnp.abs(wide), axis=axes, keepdims=True, initial=0)
    unit = power_of_two(jax.lax.stop_gradient(largest))
    total = jnp.sum(squared(wide / unit.astype(wide.dtype)), axis=axes, keepdims=True)
    some = total != 0
    share = jnp.where(some, jnp.sqrt(jnp.where(some, total, 1.0)), 0.0)
    length = unit * share
    beyond = jnp.isinf(length) & jnp.isfinite(share)
    return jnp.where(beyond, unit, 1), jnp.where(beyond, share, length)


def power_of_two(values: Array, /) -> Array:
    """A power of 2 near each value, normal and finite, so that division is exact."""
    _, exponent = jnp.frexp(values)
    limits = np.finfo(values.dtype)
    # Its inverse is normal too: compilers multiply by it, and flush what is not.
    exponent = jnp.clip(exponent - 1, int(limits.minexp), int(limits.maxexp) - 2)
    return jnp.ldexp(jnp.ones_like(values), exponent)
