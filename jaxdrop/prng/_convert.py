"""Conversion of keys, alone or in dicts and NNX objects, to our generators."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._errors import named, shown
from jaxdrop._typing import Array, Key
from jaxdrop.prng._fused import fused_threefry
from jaxdrop.prng._light import light_hash
from jaxdrop.prng._threefry import threefry2x32


@named
def fuse(keys: Any, /) -> Any:
    """Converts default keys into ones of :data:`fused_threefry`, with equal bits.

    Args:
      keys: as in :func:`light`. Keys of other generators than threefry are returned
        unchanged.

    Returns:
      An object like ``keys``, with fused keys.

    Raises:
      TypeError: if ``keys`` has another type.
      ValueError: if ``keys`` is None or contains no keys.

    Examples:
      >>> import jax, jaxdrop
      >>> key = jax.random.key(0)
      >>> a = jax.random.uniform(jaxdrop.prng.fuse(key), (3,))
      >>> bool((a == jax.random.uniform(key, (3,))).all())
      True
    """
    return _convert(keys, _fused)


@named
def light(keys: Any, /) -> Any:
    """Converts keys into ones of :data:`light_hash`, a cheaper generator of bits.

    Drawing from a light key costs three multiplications for each entry instead of the
    twenty rounds of threefry; the bits are not those of the default generator.
    Everything else is as for other keys: a mask is a function of key, shape and rate,
    and ``split``, ``fold_in`` and :mod:`jaxdrop.keys` return light keys with the same
    words as for JAX's own keys. Any library that draws with ``jax.random`` can use
    them. The generator is not cryptographic.

    Convert keys where they are used, inside the training step, so that JAX's own keys
    are stored and saved: neither orbax nor ``jax.export`` can write a key of an
    implementation that JAX does not know by name.

    Args:
      keys: a key or an array of keys, typed or raw; or a dict of them, such as the
        ``rngs`` of Linen; or ``nnx.Rngs``, one of its streams, or an NNX module. Keys
        of other generators (rbg, philox) are hashed to two words by threefry. Light
        keys are returned unchanged.

    Returns:
      An object like ``keys``, with light keys. For an NNX object, a copy that shares
      all variables except the keys: parameters are the same, and draws are counted in
      the original.

    Raises:
      TypeError: if ``keys`` has another type.
      ValueError: if ``keys`` is None or contains no keys.

    References:
      Wellons, `Prospecting for hash functions
      <https://nullprogram.com/blog/2018/07/31/>`_, 2018. Salmon, Moraes, Dror, Shaw,
      `Parallel random numbers: as easy as 1, 2, 3
      <https://doi.org/10.1145/2063384.2063405>`_, SC 2011.

    Examples:
      For a function, and for modules that take a key:

      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> key, x = jax.random.key(0), jnp.ones((4, 8))
      >>> y = jaxdrop.dropout(jaxdrop.prng.light(key), x, rate=0.5)

      For Linen:

      >>> from flax import linen
      >>> layer = linen.Dropout(0.5, deterministic=False)
      >>> y = layer.apply({}, x, rngs=jaxdrop.prng.light({"dropout": key}))

      For an NNX model whose modules have their own streams of keys:

      >>> from flax import nnx
      >>> model = nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.relu)
      >>> y = jaxdrop.prng.light(model)(x)
      >>> model.layers[0].rngs.count[...].item(), model.layers[0].rngs.key.dtype
      (1, key<fry>)
    """
    return _convert(keys, _light)


def _fused(key: Key) -> Key:
    if jax.random.key_impl(key) != "threefry2x32":
        return key
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined,unused-ignore]
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=fused_threefry)


def _light(key: Key) -> Key:
    impl = jax.random.key_impl(key)
    if impl == light_hash:
        return key
    words: Array = jax.random.key_data(key)
    if impl not in ("threefry2x32", fused_threefry):
        words = _two_words(words)
    return jax.random.wrap_key_data(words, impl=light_hash)


def _two_words(words: Array) -> Array:
    """Hashes all words of a key to two, taking them two by two as keys of threefry.

    Two of the words alone may be equal for different keys, and so may the xor of the
    two halves, which for an rbg key is always 0.
    """
    padded = jnp.pad(words, [(0, 0)] * (words.ndim - 1) + [(0, words.shape[-1] % 2)])
    first = second = jnp.zeros(words.shape[:-1], jnp.uint32)
    for index in range(0, padded.shape[-1], 2):
        pair = padded[..., index], padded[..., index + 1]
        first, second = threefry2x32(pair, first, second)
    return jnp.stack([first, second], axis=-1)


def _convert(keys: Any, one: Callable[[Key], Key]) -> Any:
    if keys is None:
        raise ValueError(
            "keys must be PRNG keys, got None: pass one, for example jax.random.key(0)."
        )
    if isinstance(keys, Mapping) and all(isinstance(name, str) for name in keys):
        return {name: _convert(key, one) for name, key in keys.items()}
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(keys, nnx.Pytree):
        return _convert_nnx(nnx, keys, one)
    return one(_checked(keys))


def _convert_nnx(nnx: Any, node: Any, one: Callable[[Key], Key]) -> Any:
    """A copy that shares all variables except the keys of its streams."""
    copy = nnx.clone(node, variables=False)
    converted: dict[int, Any] = {}  # by identity, so that shared keys stay shared
    for _, stream in list(nnx.iter_graph(copy)):
        if isinstance(stream, nnx.RngStream):
            variable = stream.key
            if id(variable) not in converted:
                converted[id(variable)] = variable.replace(one(variable[...]))
            stream.key = converted[id(variable)]
    if not converted:
        raise ValueError(
            f"{type(node).__name__} holds no keys: no module in it was given rngs. "
            "Pass it the converted key when it is called: model(x, rngs=key)."
        )
    return copy


def _checked(keys: Any) -> Key:
    """Returns one key or an array of keys, typed or raw, or raises."""
    if isinstance(keys, np.ndarray) and keys.dtype == np.uint32:
        keys = jnp.asarray(keys)
    if not isinstance(keys, jax.Array):
        raise TypeError(
            "keys must be PRNG keys such as jax.random.key(0), a dict of them, "
            f"nnx.Rngs or an NNX module, got {shown(keys)} of type "
            f"{type(keys).__name__}."
        )
    if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        return keys
    try:
        return jax.random.wrap_key_data(keys)
    except (TypeError, ValueError):
        raise TypeError(
            "keys must be PRNG keys such as jax.random.key(0), got an array of shape "
            f"{keys.shape} and dtype {keys.dtype}."
        ) from None
