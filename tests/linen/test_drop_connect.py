"""DropConnect layers of Linen: those of NNX, with Flax's parameters."""

import jax.numpy as jnp
import numpy as np
import pytest
from modules.layers import drop_connect

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_linen_and_nnx_drop_connect_agree(key, x):
    options = {"activation": jnp.tanh, "per_example": True, "evaluation": "moments"}
    layer = drop_connect(**options)
    dense = jaxdrop.linen.DropConnectDense(4, 0.4, **options)
    params = {"kernel": layer.kernel[...], "bias": layer.bias[...]}
    run = lambda *mode: dense.apply({"params": params}, x, *mode)
    np.testing.assert_array_equal(run(False, key), layer(x, rngs=key))
    np.testing.assert_array_equal(run(True), layer(x, deterministic=True))
