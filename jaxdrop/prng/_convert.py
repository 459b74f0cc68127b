"""Keys of JAX's generators as keys of ours, wherever keys are held."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._typing import Array, Key
from jaxdrop.prng._fused import fused_threefry
from jaxdrop.prng._light import light_hash
from jaxdrop.prng._threefry import threefry2x32


def fuse(keys: Any, /) -> Any:
    """Converts default keys into ones of :data:`fused_threefry`, with equal bits.

    Args:
      keys: as for :func:`light`. Keys of other generators than threefry are returned
        as they are.

    Returns:
      The same with fused keys.

    Raises:
      TypeError: if ``keys`` is none of these.
      ValueError: if ``keys`` is None or holds no key.

    Examples:
      >>> import jax, jaxdrop
      >>> key = jax.random.key(0)
      >>> a = jax.random.uniform(jaxdrop.prng.fuse(key), (3,))
      >>> bool((a == jax.random.uniform(key, (3,))).all())
      True
    """
    return _convert(keys, _fused, caller="fuse")


def light(keys: Any, /) -> Any:
    """Converts keys into ones of :data:`light_hash`, a cheaper generator of bits.

    What is drawn from a light key costs three multiplications an entry in place of the
    twenty rounds of threefry, and differs from what the default key draws. Everything
    else is as for other keys: a mask is a function of key, shape and rate, and
    ``split``, ``fold_in`` and :mod:`jaxdrop.keys` give the words that they give for
    JAX's own keys, as light keys. Any library that draws with ``jax.random`` can use
    them. It is not a cryptographic generator.

    Convert where keys are used, inside the training step. What is stored and saved are
    then JAX's own keys: neither orbax nor ``jax.export`` can write a key of an
    implementation that JAX does not know by name.

    Args:
      keys: a key or an array of keys, typed or raw; or a dict of them, such as the
        ``rngs`` of Linen; or ``nnx.Rngs``, a stream of them, or an NNX module. Keys of
        other generators (rbg, philox) are hashed to two words by threefry. Light keys
        stay as they are.

    Returns:
      The same with light keys. Of an NNX object, a copy that shares all variables but
      the keys: parameters are the same, and counts of draws go on in the original.

    Raises:
      TypeError: if ``keys`` is none of these.
      ValueError: if ``keys`` is None or holds no key.

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

      For an NNX model whose modules hold their streams of keys:

      >>> from flax import nnx
      >>> model = nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.relu)
      >>> y = jaxdrop.prng.light(model)(x)
      >>> model.layers[0].rngs.count[...].item(), model.layers[0].rngs.key.dtype
      (1, key<fry>)
    """
    return _convert(keys, _light, caller="light")


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
    """Absorbs the words of a key, two by two, as keys of threefry.

    Two alone can be equal for different keys, and xor of an rbg key's halves is 0.
    """
    padded = jnp.pad(words, [(0, 0)] * (words.ndim - 1) + [(0, words.shape[-1] % 2)])
    first = second = jnp.zeros(words.shape[:-1], jnp.uint32)
    for index in range(0, padded.shape[-1], 2):
        pair = padded[..., index], padded[..., index + 1]
        first, second = threefry2x32(pair, first, second)
    return jnp.stack([first, second], axis=-1)


def _convert(keys: Any, one: Callable[[Key], Key], *, caller: str) -> Any:
    if keys is None:
        raise ValueError(
            f"{caller} needs a PRNG key: pass one, for example jax.random.key(0)."
        )
    if isinstance(keys, Mapping) and all(isinstance(name, str) for name in keys):
        return {name: _convert(key, one, caller=caller) for name, key in keys.items()}
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(keys, nnx.Pytree):
        return _convert_nnx(nnx, keys, one, caller=caller)
    return one(_checked(keys, caller=caller))


def _convert_nnx(nnx: Any, node: Any, one: Callable[[Key], Key], *, caller: str) -> Any:
    """A copy that shares all variables but the keys of its streams."""
    copy = nnx.clone(node, variables=False)
    converted: dict[int, Any] = {}  # what was shared stays shared
    for _, stream in list(nnx.iter_graph(copy)):
        if isinstance(stream, nnx.RngStream):
            variable = stream.key
            if id(variable) not in converted:
                converted[id(variable)] = variable.replace(one(variable[...]))
            stream.key = converted[id(variable)]
    if not converted:
        raise ValueError(
            f"{caller}: {type(node).__name__} holds no keys: no module in it was given "
            f"rngs. Pass it a key when it is called: model(x, rngs=prng.{caller}(key))."
        )
    return copy


def _checked(keys: Any, *, caller: str) -> Key:
    """One key or an array of keys, typed or raw, or an error."""
    if isinstance(keys, np.ndarray) and keys.dtype == np.uint32:
        keys = jnp.asarray(keys)
    if not isinstance(keys, jax.Array):
        raise TypeError(
            f"{caller}: keys must be PRNG keys such as jax.random.key(0), a dict of "
            f"them, nnx.Rngs or an NNX module, got {keys!r} of type "
            f"{type(keys).__name__}."
        )
    if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        return keys
    try:
        return jax.random.wrap_key_data(keys)
    except (TypeError, ValueError):
        raise TypeError(
            f"{caller}: keys must be PRNG keys such as jax.random.key(0), got an array "
            f"of shape {keys.shape} and dtype {keys.dtype}."
        ) from None
