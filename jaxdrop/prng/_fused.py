"""The fused generator as a JAX key implementation, for other libraries' dropout."""

import jax
import jax.extend.random as jex_random
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

from jaxdrop._typing import Key
from jaxdrop.prng import _threefry

_jax_threefry = jex_random.threefry_prng_impl

fused_threefry = define_prng_impl(
    key_shape=(2,),
    seed=_jax_threefry.seed,
    split=_jax_threefry.split,
    random_bits=_threefry.random_bits,
    fold_in=_jax_threefry.fold_in,
    name="fused_threefry",
    tag="ffry",
)
"""``jax.random.key(0, impl=fused_threefry)``: JAX's own bits, fused with their use.

Any library that draws with ``jax.random`` draws the same numbers from such a key as
from the default one, several times faster on a CPU. A key of this kind cannot be saved
by orbax or rebuilt by name, since JAX has no public registry of generators: keep the
default key in checkpoints, and convert it with :func:`fuse` where it is used.
"""


def fuse(key: Key, /) -> Key:
    """Converts a default key into one of :data:`fused_threefry`, with equal bits.

    Args:
      key: a typed or raw threefry key, or an array of keys. Any other generator's key
        is returned as it is.

    Returns:
      Keys of the same shape.

    Examples:
      >>> import jax, jaxdrop
      >>> key = jax.random.key(0)
      >>> a = jax.random.uniform(jaxdrop.prng.fuse(key), (3,))
      >>> bool((a == jax.random.uniform(key, (3,))).all())
      True
    """
    if jax.random.key_impl(key) != "threefry2x32":
        return key
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        return key
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return jax.random.wrap_key_data(key, impl=fused_threefry)
