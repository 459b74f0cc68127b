"""Random bits, computed in the loop that consumes them: JAX's own, or a light hash."""

from jaxdrop.prng._bits import bits_at as bits_at
from jaxdrop.prng._bits import normal as normal
from jaxdrop.prng._bits import random_bits as random_bits
from jaxdrop.prng._bits import uniform as uniform
from jaxdrop.prng._convert import fuse as fuse
from jaxdrop.prng._convert import light as light
from jaxdrop.prng._fused import fused_threefry as fused_threefry
from jaxdrop.prng._light import light_hash as light_hash
