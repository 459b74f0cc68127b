"""Logistic noise, for differentiable relaxations of binary choices."""

from typing import Any

import jax.numpy as jnp

from jaxdrop import prng
from jaxdrop._typing import Array, Key


def logistic(
    key: Key, shape: tuple[int, ...], /, *, dtype: Any, out_sharding: Any = None
) -> Array:
    """Draws ``log(u / (1 - u))`` for ``u`` uniform on (0, 1), always finite."""
    draw = prng.uniform(key, shape, out_sharding=out_sharding)
    draw = (draw + jnp.float32(2**-24)).astype(dtype)  # away from 0, and still exact
    return jnp.log(draw) - jnp.log1p(-draw)
