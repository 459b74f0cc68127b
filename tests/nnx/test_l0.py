"""L0 layers of NNX: inputs that close for good."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_closed_inputs_are_left_out_in_evaluation(x):
    layer = jaxdrop.nnx.L0Linear(8, 4, rngs=nnx.Rngs(1))
    layer.log_alpha[...] = jnp.array([-9.0] * 6 + [9.0] * 2)
    layer.eval()
    unheard = x.at[:, :6].set(jnp.nan)
    expected = x[:, 6:] @ layer.kernel[...][6:]
    np.testing.assert_allclose(layer(unheard), expected, rtol=1e-5, atol=1e-6)
    assert float(layer.sparsity()) == 0.75
    dense = jaxdrop.linen.L0Dense(4)
    params = {"kernel": layer.kernel[...], "log_alpha": layer.log_alpha[...]}
    assert float(dense.apply({"params": params}, method="sparsity")) == 0.75
