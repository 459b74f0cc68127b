"""Random bits, by the implementation of the key."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._checks import check_shape, check_sharding, require_key
from jaxdrop._errors import named
from jaxdrop._numbers import as_numbers
from jaxdrop._sites import site
from jaxdrop._typing import Array, ArrayLike, Key
from jaxdrop.prng import _light, _threefry
from jaxdrop.prng._fused import fused_threefry
from jaxdrop.prng._light import light_hash


class CounterHash(Protocol):
    """From the two words of a key, and the words of positions, to 32 bits."""

    __module__: str

    def __call__(
        self, words: Any, high: Array, low: Array, offset: Array | None = None, /
    ) -> Array:
        """See :func:`_light.hash_counters`; its limits hold for all."""


@named
def random_bits(
    key: Key, shape: tuple[int, ...], /, *, out_sharding: Any = None
) -> Array:
    """Draws 32 random bits per entry: ``jax.random.bits``, fused with its consumer.

    For a threefry key, JAX's default, and for a key of :data:`light_hash`, the bits
    equal those of ``jax.random.bits(key, shape, "uint32")``. For keys of other
    generators (rbg, philox) ``jax.random.bits`` itself is called.

    Args:
      key: one PRNG key, typed or raw.
      shape: the shape to draw. Static.
      out_sharding: the sharding of the result on an explicit mesh. Static.

    Returns:
      A uint32 array of the given shape.

    Raises:
      TypeError: if ``key`` is not a PRNG key.
      ValueError: if ``key`` is missing, or an array of keys.

    Examples:
      >>> import jax, jaxdrop
      >>> key = jax.random.key(0)
      >>> bits = jaxdrop.prng.random_bits(key, (2, 3))
      >>> bool((bits == jax.random.bits(key, (2, 3), "uint32")).all())
      True
    """
    key = require_key(key, instead="")
    shape = check_shape(shape)
    check_sharding(out_sharding)
    return _random_bits(key, shape=shape, out_sharding=out_sharding)


@site(
    "jaxdrop.prng.random_bits",
    draws="noise",
    acts_on="bits",
    static=("shape", "out_sharding"),
)
def _random_bits(key: Key, *, shape: tuple[int, ...], out_sharding: Any) -> Array:
    if not (has_counters(key) and _threefry.has_counters(shape)):
        return jax.random.bits(key, shape, jnp.uint32, out_sharding=out_sharding)
    return counted_bits(consume(key), shape, out_sharding=out_sharding)


def counted_bits(key: Key, shape: tuple[int, ...], *, out_sharding: Any) -> Array:
    """:func:`random_bits` of a :func:`counter_key`, which does not count as used."""
    high, low = _threefry.counters(shape, out_sharding=out_sharding)
    bits = counter_hash(key)(jax.random.key_data(key), high, low)
    if low.shape != shape:  # for one entry or none, counters are scalars
        bits = lax.broadcast_in_dim(bits, shape, (), out_sharding=out_sharding)
    return bits


@named
def bits_at(
    key: Key, counters: ArrayLike, /, *, high: ArrayLike | None = None
) -> Array:
    """Draws the bits of chosen positions only, without drawing the rest.

    ``bits_at(key, i)`` is ``random_bits(key, shape).ravel()[i]`` for any shape with
    more than ``i`` entries. So a tile of an attention matrix, the token ids of a batch
    or one shard of a mask can be drawn without the rest.

    Args:
      key: one PRNG key. For a generator without counters (rbg, for example), a
        threefry key is derived first.
      counters: row-major positions, integers of any shape, not negative. A 32-bit JAX
        array holds the low 32 bits of the positions.
      high: the high 32 bits of the positions, a scalar or of the shape of ``counters``.
        By default those of ``counters`` if they are 64-bit integers, else 0.

    Returns:
      A uint32 array of the shape of ``counters``.

    Raises:
      TypeError: if ``key`` is not a PRNG key, or ``counters`` or ``high`` are not
        integers.
      ValueError: if ``key`` is missing, or an array of keys; if ``counters`` or
        ``high`` are out of range; or if the shape of ``high`` does not fit.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> key = jax.random.key(0)
      >>> whole = jaxdrop.prng.random_bits(key, (4, 8))
      >>> part = jaxdrop.prng.bits_at(key, jnp.array([9, 31]))
      >>> bool((part == whole.ravel()[jnp.array([9, 31])]).all())
      True
    """
    key = require_key(key, instead="")
    low, own_high = _position_words(counters, name="counters")
    if high is None:
        return _bits_at(key, low, own_high)
    given, above = _position_words(high, name="high")
    if not isinstance(above, jax.Array) and above.any():
        raise ValueError(f"high must be below 2**32, got {high!r}.")
    if not isinstance(own_high, jax.Array) and own_high.any():
        raise ValueError(
            f"counters must be below 2**32 where high is given, got {counters!r}; "
            "without high, counters may be wider."
        )
    if given.shape not in ((), low.shape):
        raise ValueError(
            f"high must be a scalar or have the shape of counters, {low.shape}; got "
            f"{given.shape}."
        )
    return _bits_at(key, low, given)


@site("jaxdrop.prng.bits_at", draws="noise", acts_on="bits")
def _bits_at(key: Key, low: Array, high: Array) -> Array:
    # Other calls may draw other parts of the same mask, which is not a reuse.
    key = counter_key(jax.random.clone(key))
    return counter_hash(key)(jax.random.key_data(key), high, low)


def has_counters(key: Key) -> bool:
    """Whether the bits of a key are hashes of counters, which this library computes."""
    impl = jax.random.key_impl(key)
    if impl in (fused_threefry, light_hash):
        return True
    partitionable: bool = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined,unused-ignore]
    return impl == "threefry2x32" and partitionable


def counter_key(key: Key) -> Key:
    """The key that :func:`bits_at` uses: ``key``, or a threefry key derived from it."""
    if has_counters(key):
        return key
    words = jax.random.bits(key, (2,), jnp.uint32)
    return jax.random.wrap_key_data(words, impl=fused_threefry)


def consume(key: Key) -> Key:
    """Returns a key with the same words, where ``key`` itself counts as used.

    For ``jax_debug_key_reuse`` JAX counts only its own draws: whatever hashes the words
    of a key, or draws with keys that are folded from it, does so with this result. An
    empty draw is part of its words, so that no transformation leaves it out.
    """
    if not jax.config.jax_debug_key_reuse:  # type: ignore[attr-defined,unused-ignore]
        return key
    nothing = jax.random.bits(key, (0,), jnp.uint32)
    words = jnp.concatenate([jax.random.key_data(key), nothing])
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def counter_hash(key: Key) -> CounterHash:
    """The elementwise hash of a :func:`counter_key`, which kernels can call, too."""
    if jax.random.key_impl(key) == light_hash:
        return _light.hash_counters
    return _threefry.hash_counters


@named
def uniform(key: Key, shape: tuple[int, ...], /, *, out_sharding: Any = None) -> Array:
    """Draws from [0, 1): ``jax.random.uniform(key, shape, "float32")``, fused.

    Args:
      key: one PRNG key.
      shape: the shape to draw. Static.
      out_sharding: the sharding of the result on an explicit mesh. Static.

    Returns:
      A float32 array of the given shape, multiples of 2**-23.

    Examples:
      >>> import jax
      >>> from jaxdrop import prng
      >>> key = jax.random.key(0)
      >>> bool((prng.uniform(key, (3, 4)) == jax.random.uniform(key, (3, 4))).all())
      True
    """
    bits = random_bits(key, shape, out_sharding=out_sharding)
    one = jnp.uint32(0x3F800000)  # the bits of 1.0; random bits become its mantissa
    fraction = lax.bitcast_convert_type((bits >> jnp.uint32(9)) | one, jnp.float32)
    return fraction - jnp.float32(1)


@named
def normal(key: Key, shape: tuple[int, ...], /, *, out_sharding: Any = None) -> Array:
    """Draws from N(0, 1): ``jax.random.normal(key, shape, "float32")``, fused.

    Args:
      key: one PRNG key.
      shape: the shape to draw. Static.
      out_sharding: the sharding of the result on an explicit mesh. Static.

    Returns:
      A float32 array of the given shape.

    Examples:
      >>> import jax
      >>> from jaxdrop import prng
      >>> draw = prng.normal(jax.random.key(0), (100, 100))
      >>> bool(abs(draw.mean()) < 0.05), bool(abs(draw.std() - 1) < 0.05)
      (True, True)
    """
    low = np.nextafter(np.float32(-1), np.float32(0))
    draw = uniform(key, shape, out_sharding=out_sharding)
    symmetric = jnp.maximum(low, draw * (np.float32(1) - low) + low)
    return jnp.float32(math.sqrt(2)) * lax.erf_inv(symmetric)


def _position_words(positions: ArrayLike, *, name: str) -> tuple[Any, Any]:
    """The low and high words of positions; those of host integers are NumPy arrays."""
    array: Any = as_numbers(positions, name)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        kind = "" if array.dtype == object else f" of dtype {array.dtype}"
        raise TypeError(
            f"{name} must be integers below 2**64, got {positions!r}{kind}."
        )
    if isinstance(array, jax.Array):
        low = array.astype(jnp.uint32)
        if array.dtype.itemsize < 8:
            return low, jnp.zeros((), jnp.uint32)
        return low, (array.astype(jnp.uint64) >> jnp.uint64(32)).astype(jnp.uint32)
    if (array < 0).any():
        raise ValueError(f"{name} must not be negative, got {positions!r}.")
    wide = array.astype(np.uint64)
    high = (wide >> np.uint64(32)).astype(np.uint32)
    word = (wide & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return word, high if high.any() else np.zeros((), np.uint32)
