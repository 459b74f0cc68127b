"""The functions that compute attention in modules of Flax: ours, and Flax's own."""

import jax
import numpy as np
import pytest
from attention import formula
from flax import linen, nnx

from jaxdrop.linen._attention import attention_fn as linen_fn
from jaxdrop.nnx._attention import attention_fn as nnx_fn

FUNCTIONS = {  # ours and Flax's
    "nnx": (nnx_fn, nnx.dot_product_attention),
    "linen": (linen_fn, linen.dot_product_attention),
}
for_both = pytest.mark.parametrize("framework", FUNCTIONS)


def transparent(length=16):
    """Arrays of which the output is the weights themselves."""
    arrays = formula.inputs(2, length, length, 4, 4, length)
    eye = np.eye(length, dtype=np.float32)[None, :, None]
    arrays["value"] = np.broadcast_to(eye, arrays["value"].shape)
    return [jax.device_put(x) for x in arrays.values()]
