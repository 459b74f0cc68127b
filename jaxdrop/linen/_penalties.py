"""Penalties of Linen layers, sown for the loss."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._typing import Array


def sow_penalty(module: nn.Module, penalty: Callable[[], Array], /) -> None:
    """Sows a penalty into the collection ``"penalties"``, once for each module.

    Nothing is computed unless the caller made the collection mutable, and the variables
    that ``init`` returns do not hold it.
    """
    if not module.is_initializing() and module.is_mutable_collection("penalties"):
        module.sow(
            "penalties",
            "value",
            penalty(),
            reduce_fn=lambda earlier, penalty: penalty,
            init_fn=lambda: jnp.float32(0),
        )
