"""Random bits: JAX's own, computed inside the loop that consumes them."""

from jaxdrop.prng._bits import bits_at as bits_at
from jaxdrop.prng._bits import normal as normal
from jaxdrop.prng._bits import random_bits as random_bits
from jaxdrop.prng._bits import uniform as uniform
from jaxdrop.prng._fused import fuse as fuse
from jaxdrop.prng._fused import fused_threefry as fused_threefry
