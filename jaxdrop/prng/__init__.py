"""Random bits that XLA fuses into the loop that uses them: JAX's own, or a light hash.

- :func:`light`: converts keys to a cheaper generator.
- :func:`fuse`: converts keys for other libraries: equal bits, drawn faster on CPUs.
- :data:`light_hash`, :data:`fused_threefry`: the generators, as key implementations.
- :func:`random_bits`: 32 random bits for each entry.
- :func:`bits_at`: the bits of chosen positions only.
- :func:`uniform`, :func:`normal`: float32 draws, equal to those of ``jax.random``.
"""

from jaxdrop.prng._bits import bits_at as bits_at
from jaxdrop.prng._bits import normal as normal
from jaxdrop.prng._bits import random_bits as random_bits
from jaxdrop.prng._bits import uniform as uniform
from jaxdrop.prng._convert import fuse as fuse
from jaxdrop.prng._convert import light as light
from jaxdrop.prng._fused import fused_threefry as fused_threefry
from jaxdrop.prng._light import light_hash as light_hash

__all__ = [
    "bits_at",
    "fuse",
    "fused_threefry",
    "light",
    "light_hash",
    "normal",
    "random_bits",
    "uniform",
]


def __dir__() -> list[str]:
    return sorted(__all__)
