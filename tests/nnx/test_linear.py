"""Dense layers of NNX: the parameters, dtypes and bias of ``flax.nnx.Linear``."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop

OPTIONS = [
    {"use_bias": False, "kernel_init": nnx.initializers.ones},
    {
        "param_dtype": jnp.bfloat16,
        "dtype": jnp.float32,
        "bias_init": nnx.initializers.ones,
    },
    {"dtype": jnp.bfloat16},
]


def test_a_layer_needs_rngs_for_its_parameters():
    with pytest.raises(TypeError, match="rngs must be"):
        jaxdrop.nnx.DropConnectLinear(6, 4, 0.3)
    with pytest.raises(ValueError, match="rate is the probability"):
        jaxdrop.linen.DropConnectDense(4, 1.3)


@pytest.mark.parametrize("options", OPTIONS)
def test_evaluation_is_linear_with_its_parameters(options):
    x = jnp.arange(12.0).reshape(2, 6)
    theirs = nnx.Linear(6, 4, **options, rngs=nnx.Rngs(3))
    ours = jaxdrop.nnx.DropConnectLinear(
        6, 4, 0.5, deterministic=True, **options, rngs=nnx.Rngs(3)
    )
    np.testing.assert_array_equal(ours.kernel[...], theirs.kernel[...])
    y, expected = ours(x), theirs(x)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)
    assert (ours.bias is None) == (options.get("use_bias") is False)
