"""Random bits: one dispatch, on the implementation of the key."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._checks import require_key
from jaxdrop._sites import site
from jaxdrop._typing import Array, Key
from jaxdrop.prng import _threefry
from jaxdrop.prng._fused import fused_threefry


def random_bits(
    key: Key, shape: tuple[int, ...], /, *, out_sharding: Any = None
) -> Array:
    """Draws 32 random bits per entry: ``jax.random.bits``, fused with its consumer.

    For a threefry key, JAX's default, the bits are those of
    ``jax.random.bits(key, shape, "uint32")`` one for one. Keys of other generators
    (rbg, philox) draw through ``jax.random.bits`` itself.

    Args:
      key: one PRNG key, typed or raw.
      shape: the shape to draw. Static.
      out_sharding: the sharding of the result on an explicit mesh. Static.

    Returns:
      A uint32 array of the given shape.

    Raises:
      TypeError: if ``key`` is no PRNG key.
      ValueError: if ``key`` is missing, or an array of keys.

    Examples:
      >>> import jax, jaxdrop
      >>> key = jax.random.key(0)
      >>> bits = jaxdrop.prng.random_bits(key, (2, 3))
      >>> bool((bits == jax.random.bits(key, (2, 3), "uint32")).all())
      True
    """
    key = require_key(key, caller="random_bits", instead="")
    return _random_bits(key, shape=tuple(shape), out_sharding=out_sharding)


@site("jaxdrop.prng.random_bits", static=("shape", "out_sharding"))
def _random_bits(key: Key, *, shape: tuple[int, ...], out_sharding: Any) -> Array:
    if not (_is_threefry(key) and _threefry.has_counters(shape)):
        return jax.random.bits(key, shape, jnp.uint32, out_sharding=out_sharding)
    _consume(key)
    words = jax.random.key_data(key)
    x, y = _threefry.random_words(words, shape, out_sharding=out_sharding)
    return x ^ y


def bits_at(key: Key, counters: Array, /, *, high: Array | None = None) -> Array:
    """Draws the bits of chosen positions only, without drawing the rest.

    ``bits_at(key, i)`` is ``random_bits(key, shape).ravel()[i]`` for any shape with
    more than ``i`` entries. A tile of an attention matrix, the token ids of a batch or
    one shard of a mask so draw their part alone.

    Args:
      key: one PRNG key. From a generator without counters (rbg, for example), a
        threefry key is derived first.
      counters: row-major positions, integers of any shape; for positions from 2**32 on,
        their low 32 bits.
      high: the high 32 bits of the positions, of the shape of ``counters``; default 0.

    Returns:
      A uint32 array of the shape of ``counters``.

    Raises:
      TypeError: if ``key`` is no PRNG key, or ``counters`` are no integers.
      ValueError: if ``key`` is missing, or an array of keys.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> key = jax.random.key(0)
      >>> whole = jaxdrop.prng.random_bits(key, (4, 8))
      >>> part = jaxdrop.prng.bits_at(key, jnp.array([9, 31]))
      >>> bool((part == whole.ravel()[jnp.array([9, 31])]).all())
      True
    """
    key = require_key(key, caller="bits_at", instead="")
    counters = jnp.asarray(counters)
    for name, words in (("counters", counters), ("high", high)):
        if words is not None and not jnp.issubdtype(words.dtype, jnp.integer):
            raise TypeError(f"bits_at: {name} must be integers, got {words.dtype}.")
    low = counters.astype(jnp.uint32)
    if high is None:
        high = _high_word(counters)
    return _bits_at(key, low, high.astype(jnp.uint32))


@site("jaxdrop.prng.bits_at")
def _bits_at(key: Key, low: Array, high: Array) -> Array:
    x, y = _threefry.threefry2x32(counter_words(key), high, low)
    return x ^ y


def counter_key(key: Key) -> Key:
    """The threefry key by which :func:`bits_at` draws: ``key``, or a derived one."""
    if _is_threefry(key):
        return key
    words = jax.random.bits(key, (2,), jnp.uint32)
    return jax.random.wrap_key_data(words, impl=fused_threefry)


def counter_words(key: Key) -> Array:
    """The two words of :func:`counter_key`."""
    words: Array = jax.random.key_data(counter_key(key))
    return words


def uniform(key: Key, shape: tuple[int, ...], /, *, out_sharding: Any = None) -> Array:
    """Draws from [0, 1): ``jax.random.uniform(key, shape, "float32")``, fused.

    Args:
      key: one PRNG key.
      shape: the shape to draw. Static.
      out_sharding: the sharding of the result on an explicit mesh. Static.

    Returns:
      A float32 array of the given shape, multiples of 2**-23.
    """
    bits = random_bits(key, shape, out_sharding=out_sharding)
    one = jnp.uint32(0x3F800000)  # the bits of 1.0, whose mantissa is filled
    fraction = lax.bitcast_convert_type((bits >> jnp.uint32(9)) | one, jnp.float32)
    return fraction - jnp.float32(1)


def normal(key: Key, shape: tuple[int, ...], /, *, out_sharding: Any = None) -> Array:
    """Draws from N(0, 1): ``jax.random.normal(key, shape, "float32")``, fused.

    Args:
      key: one PRNG key.
      shape: the shape to draw. Static.
      out_sharding: the sharding of the result on an explicit mesh. Static.

    Returns:
      A float32 array of the given shape.
    """
    low = np.nextafter(np.float32(-1), np.float32(0))
    draw = uniform(key, shape, out_sharding=out_sharding)
    symmetric = jnp.maximum(low, draw * (np.float32(1) - low) + low)
    return jnp.float32(math.sqrt(2)) * lax.erf_inv(symmetric)


def _is_threefry(key: Key) -> bool:
    """Whether a key's stream is the counter stream that ``_threefry`` computes."""
    impl = jax.random.key_impl(key)
    if impl == fused_threefry:
        return True
    partitionable: bool = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    return impl == "threefry2x32" and partitionable


def _consume(key: Key) -> None:
    """Lets ``jax_debug_key_reuse`` know of a draw, by drawing nothing the usual way."""
    if jax.config.jax_debug_key_reuse:  # type: ignore[attr-defined]
        jax.random.bits(key, (0,), jnp.uint32)


def _high_word(counters: Array) -> Array:
    """The high word of counters that are wide integers themselves (x64 mode)."""
    if counters.dtype.itemsize < 8:
        return jnp.zeros((), jnp.uint32)
    return counters.astype(jnp.uint64) >> jnp.uint64(32)
