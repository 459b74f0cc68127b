"""Noisy convolutions of Linen, and of NNX beside them: every option of Flax's."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop
from chance import normal


@pytest.fixture
def images():
    return normal(3, 9, 7, 4)


DILATED = {"kernel_dilation": 2, "padding": "VALID"}
UPSAMPLED = {"input_dilation": 2, "padding": 1, "use_bias": False}


@pytest.mark.parametrize("options", [DILATED, UPSAMPLED, {"padding": "CIRCULAR"}])
def test_convolutions_take_every_option_of_flax(options, images, key):
    """In evaluation all of them are Flax's own layer, with the same parameters."""
    plain = nn.Conv(6, (3, 2), **options)
    variables = plain.init(key, images)
    expected = plain.apply(variables, images)
    close = lambda a: np.testing.assert_allclose(a, expected, rtol=1e-5, atol=1e-5)
    params = variables["params"]
    for ours, args in (("DropConnectConv", (0.4,)), ("VariationalConv", ())):
        of_linen = getattr(jaxdrop.linen, ours)(6, (3, 2), *args, **options)
        own = of_linen.init(key, images, True)["params"]
        close(of_linen.apply({"params": {**own, **params}}, images, True))
        of_nnx = getattr(jaxdrop.nnx, ours)(
            4, 6, (3, 2), *args, **options, rngs=nnx.Rngs(0)
        )
        of_nnx.kernel[...] = params["kernel"]
        if "bias" in params:
            of_nnx.bias[...] = params["bias"]
        close(of_nnx(images, deterministic=True))


def test_convolutions_in_half_precision_are_flaxs(images, key):
    """Parameters stay in float32, and are cast where they are used, the bias too."""
    plain = nn.Conv(6, (3, 2), dtype=jnp.bfloat16)
    params = plain.init(key, images)["params"] | {"bias": jnp.linspace(0.1, 0.7, 6)}
    expected = plain.apply({"params": params}, images)
    for ours, args in (("DropConnectConv", (0.0,)), ("VariationalConv", ())):
        layer = getattr(jaxdrop.nnx, ours)(
            4, 6, (3, 2), *args, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
        )
        layer.kernel[...], layer.bias[...] = params["kernel"], params["bias"]
        dense = getattr(jaxdrop.linen, ours)(6, (3, 2), *args, dtype=jnp.bfloat16)
        own = dense.init(key, images, True)["params"] | params
        trained = (
            layer(images, rngs=key),
            dense.apply({"params": own}, images, False, key),
        )
        evaluated = layer(images, deterministic=True)
        for y in (*trained, evaluated, dense.apply({"params": own}, images, True)):
            assert y.dtype == jnp.bfloat16
        np.testing.assert_array_equal(evaluated, expected)
