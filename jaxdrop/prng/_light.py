"""A light counter-based generator: three multiplications for each entry.

A position is hashed by three rounds of xorshift and multiplication, with another word
of the key in each round, and the state after the first round is added to the result:

    x = counter ^ a;  x ^= x >> 17;  x *= 0xED5AD4BB
    y = x + b;        y ^= y >> 11;  y *= 0xAC4C1B51
    y = y ^ c;        y ^= y >> 15;  y *= 0x31848BAB
    y = y + x;        y ^= y >> 14

Shifts and multipliers are those of ``triple32``, which was found by a search for
unkeyed hashes with little bias. Without the last sum the hash would be a permutation of
the 32-bit words for every key: 2**32 positions would give each word exactly once, and a
collision test detects this after a million words. The sum of a permutation and its
argument, the construction of Davies and Meyer, is not a permutation. Each round has its
own word of the key; otherwise the streams of two keys that differ in one word only
would contain the same words at other positions.

The hash is meant for masks and noise. It is not cryptographic.

References:
  Wellons, `Prospecting for hash functions
  <https://nullprogram.com/blog/2018/07/31/>`_, 2018: ``lowbias32`` and ``triple32``.

  Salmon, Moraes, Dror, Shaw, `Parallel random numbers: as easy as 1, 2, 3
  <https://doi.org/10.1145/2063384.2063405>`_, SC 2011, for generators of this kind.
"""

import jax.extend.random as jex_random
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

from jaxdrop._typing import Array
from jaxdrop.prng import _threefry

_GOLDEN = 0x9E3779B9  # 2**32 divided by the golden ratio, an odd number
_ODD = 0x9E3779B1
_OFFSET = 0x85EBCA6B
_FIRST_SHIFT = 17
MOST_OFFSETS = 1 << _FIRST_SHIFT
"""How many offsets :func:`hash_counters` takes: the first shift drops their bits."""


def hash_counters(
    words: Array, high: Array, low: Array, offset: Array | None = None
) -> Array:
    """Hashes positions to 32 bits each.

    Args:
      words: the two words of the key, uint32, ``(2,)``.
      high: the high words of the positions, uint32; a scalar costs nothing per entry.
      low: the low words of the positions, uint32, of the same shape or scalar.
      offset: low bits of the positions that ``low`` lacks, numbers below
        :data:`MOST_OFFSETS` that broadcast against it: the low words are
        ``low | offset``. The first shift is then computed for ``low`` alone.

    Returns:
      One uint32 word per position.
    """
    a, b, c = schedule(words, high)
    x = _xorshift(low ^ a, _FIRST_SHIFT)
    if offset is not None:
        x = x ^ offset
    x = x * jnp.uint32(0xED5AD4BB)
    y = _round(x + b, 11, 0xAC4C1B51)
    y = _round(y ^ c, 15, 0x31848BAB)
    return _xorshift(y + x, 14)


def schedule(words: Array, high: Array) -> tuple[Array, Array, Array]:
    """The words of the three rounds, from a key and the high words of positions.

    ``(a, b)`` is a bijection of the key, so that two different keys share at most one
    of the three words: keys from small seeds are as different as keys from a split.
    """
    first, second = words[0], words[1]
    a = first ^ _mix(second + (high + jnp.uint32(1)) * jnp.uint32(_GOLDEN))
    b = second + _mix(a ^ jnp.uint32(_OFFSET))
    return a, b, (a ^ b) * jnp.uint32(_ODD)


def _mix(x: Array) -> Array:
    """``lowbias32``."""
    return _xorshift(_round(_round(x, 16, 0x7FEB352D), 15, 0x846CA68B), 16)


def _round(x: Array, distance: int, factor: int) -> Array:
    return _xorshift(x, distance) * jnp.uint32(factor)


def _xorshift(x: Array, distance: int) -> Array:
    return x ^ (x >> jnp.uint32(distance))


def random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    """Implements ``random_bits`` of a JAX generator, for raw key words.

    8 and 16 bits are the high ones of a word; 64 bits are two consecutive words.
    """
    _threefry.require_counters(shape)
    high, low = _threefry.counters(shape, out_sharding=None)
    if bit_width == 64:
        one = jnp.uint32(1)
        high = (high << one) | (low >> jnp.uint32(31))
        low = low << one
        first = hash_counters(key, high, low).astype(jnp.uint64)
        second = hash_counters(key, high, low | one).astype(jnp.uint64)
        bits = (first << jnp.uint64(32)) | second
    elif bit_width in (8, 16, 32):
        bits = hash_counters(key, high, low) >> jnp.uint32(32 - bit_width)
        bits = bits.astype(jnp.dtype(f"uint{bit_width}"))
    else:
        raise ValueError(f"bit_width must be 8, 16, 32 or 64, got {bit_width}.")
    return jnp.broadcast_to(bits, shape)


_threefry_keys = jex_random.threefry_prng_impl

light_hash = define_prng_impl(
    key_shape=(2,),
    seed=_threefry_keys.seed,
    split=_threefry_keys.split,
    random_bits=random_bits,
    fold_in=_threefry_keys.fold_in,
    name="light_hash",
    tag="lhsh",
)
"""``jax.random.key(0, impl=light_hash)``: cheap bits, and the keys of threefry.

``split`` and ``fold_in`` give the same words as for JAX's own keys; only the drawn bits
differ. See :func:`light`, which converts keys where they are used.
"""
