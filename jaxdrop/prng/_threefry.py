"""Threefry 2x32 as plain elementwise operations, with the same bits as ``jax.random``.

``jax.random`` hashes one counter for each entry. On CPUs it does so in a rolled loop
that writes every word to memory. The same hash, written as elementwise operations on an
``iota``, is fused by XLA into the loop that uses the bits.

References:
  Salmon, Moraes, Dror, Shaw, `Parallel random numbers: as easy as 1, 2, 3
  <https://doi.org/10.1145/2063384.2063405>`_, SC 2011.
"""

import math
from numbers import Integral
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._typing import Array

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_WORD = 1 << 32


def threefry2x32(
    key: Array | tuple[Array, Array],
    high: Array,
    low: Array,
    offset: Array | None = None,
) -> tuple[Array, Array]:
    """Twenty rounds of Threefry on counters given as two words.

    Args:
      key: the two words of the key, uint32, ``(2,)``.
      high: the high words of the counters, uint32.
      low: the low words of the counters, uint32, of the same shape or scalar.
      offset: added to the low words, if given; they broadcast against each other.

    Returns:
      Two uint32 words for each counter.
    """
    first, second = key[0], key[1]
    schedule = (first, second, first ^ second ^ jnp.uint32(_PARITY))
    x, y = high + schedule[0], low + schedule[1]
    if offset is not None:
        y = y + offset
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = lax.add(x, y)  # tracing jnp takes three times as long
            y = lax.bitwise_xor(_rotate_left(y, rotation), x)
        x = x + schedule[(group + 1) % 3]
        # of two scalars: added one by one, each costs an operation for each counter
        y = y + (schedule[(group + 2) % 3] + jnp.uint32(group + 1))
    return x, y


def hash_counters(
    words: Array, high: Array, low: Array, offset: Array | None = None
) -> Array:
    """The 32 bits that ``jax.random.bits`` draws at each position.

    Args:
      words: the two words of the key, uint32, ``(2,)``.
      high: the high words of the positions, uint32.
      low: the low words of the positions, uint32, of the same shape or scalar.
      offset: low bits of the positions that ``low`` lacks, numbers that broadcast
        against it: the low words are ``low | offset``.

    Returns:
      One uint32 word for each position.
    """
    x, y = threefry2x32(words, high, low, offset)
    return x ^ y


def counters(shape: tuple[int, ...], *, out_sharding: Any) -> tuple[Array, Array]:
    """The row-major position of each entry of an array, as two uint32 words.

    Args:
      shape: the shape of the array; no axis may be longer than 2**32. A shape with
        symbolic dimensions (``jax.export``) is assumed to have at most 2**32 entries.
      out_sharding: the sharding of the counters over an explicit mesh, or None.

    Returns:
      High words and low words. Both are scalars for an empty shape, and the high word
      is the scalar 0 where all positions fit in one word.
    """
    high = low = jnp.zeros((), jnp.uint32)
    wide = not _is_symbolic(shape) and math.prod(shape) > _WORD
    stride = 1
    for axis in reversed(range(len(shape))):
        if _is_symbolic(shape) or shape[axis] > 1:
            index = lax.broadcasted_iota(
                jnp.uint32, shape, axis, out_sharding=out_sharding
            )
            if wide:
                high, low = add_product(high, low, index, stride)
            else:
                low = low + index * _word(stride)
        stride *= shape[axis]
    return high, low


def has_counters(shape: tuple[int, ...]) -> bool:
    """Whether :func:`counters` can number the entries of an array of this shape."""
    if _is_symbolic(shape):
        return True
    return max(shape, default=0) <= _WORD and math.prod(shape) <= _WORD * _WORD


def _word(stride: int) -> Array:
    """A stride as a word; a symbolic one is computed by the program."""
    known = isinstance(stride, Integral)
    return jnp.uint32(stride) if known else jnp.asarray(stride).astype(jnp.uint32)


def _is_symbolic(shape: tuple[Any, ...]) -> bool:
    """Whether a size is symbolic, as in ``jax.export``."""
    return not all(isinstance(size, Integral) for size in shape)


def _rotate_left(x: Array, distance: int) -> Array:
    left = lax.shift_left(x, np.uint32(distance))
    return lax.bitwise_or(left, lax.shift_right_logical(x, np.uint32(32 - distance)))


def add_product(
    high: Array, low: Array, index: Array, stride: int
) -> tuple[Array, Array]:
    """``(high, low) + index * stride`` in 64 bits, for a static ``stride``."""
    product_high, product_low = _multiply_wide(index, stride % _WORD)
    total = low + product_low
    carry = (total < product_low).astype(jnp.uint32)
    return high + product_high + index * jnp.uint32(stride // _WORD) + carry, total


def _multiply_wide(index: Array, factor: int) -> tuple[Array, Array]:
    """The two words of ``index * factor`` for a static ``factor`` below 2**32."""
    half = jnp.uint32(0xFFFF)
    shift = jnp.uint32(16)
    low, high = index & half, index >> shift
    factor_low, factor_high = jnp.uint32(factor & 0xFFFF), jnp.uint32(factor >> 16)
    first = low * factor_low
    second = high * factor_low + (first >> shift)
    third = low * factor_high + (second & half)
    words_high = high * factor_high + (second >> shift) + (third >> shift)
    return words_high, index * jnp.uint32(factor)


def require_counters(shape: tuple[int, ...]) -> None:
    """Raises if :func:`counters` cannot number the entries of such an array."""
    if not has_counters(shape):
        raise ValueError(
            "an array of random bits may have axes of at most 2**32, and 2**64 "
            f"entries, got shape {shape}."
        )


def random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    """Implements ``random_bits`` of a JAX generator, for raw key words."""
    require_counters(shape)
    high, low = counters(shape, out_sharding=None)
    x, y = (jnp.broadcast_to(word, shape) for word in threefry2x32(key, high, low))
    if bit_width == 64:
        return (x.astype(jnp.uint64) << jnp.uint64(32)) | y.astype(jnp.uint64)
    if bit_width not in (8, 16, 32):
        raise ValueError(f"bit_width must be 8, 16, 32 or 64, got {bit_width}.")
    return (x ^ y).astype(jnp.dtype(f"uint{bit_width}"))
