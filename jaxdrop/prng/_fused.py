"""Fused threefry as a key implementation of JAX, for the dropout of other libraries."""

import jax.extend.random as jex_random
from jax.extend.random import define_prng_impl

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

Any library that draws with ``jax.random`` gets the same numbers from such a key as from
the default one, several times faster on a CPU. Such a key cannot be saved by orbax or
rebuilt by name, since JAX has no public registry of generators: keep the default key in
checkpoints, and convert it with :func:`fuse` where it is used.
"""
