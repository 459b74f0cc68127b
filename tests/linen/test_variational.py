"""Variational layers of Linen, and of NNX beside them: the function, and its price."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_variational_layers_compute_the_function_and_agree(x, key):
    layer = jaxdrop.nnx.VariationalLinear(
        8, 4, log_variance_init=-2.0, threshold=0.5, rngs=nnx.Rngs(1)
    )
    layer.bias[...] = jnp.arange(4.0)
    params = {name: getattr(layer, name)[...] for name in ("kernel", "bias")}
    params["kernel_log_variance"] = layer.kernel_log_variance[...]
    dense = jaxdrop.linen.VariationalDense(4, log_variance_init=-2.0, threshold=0.5)
    assert jax.tree.map(jnp.shape, dense.init(key, x, True)["params"]) == jax.tree.map(
        jnp.shape, params
    )
    weights = params["kernel"], params["kernel_log_variance"]
    for mode in (False, True):
        expected = jaxdrop.variational_dense(
            key, x, *weights, threshold=0.5, deterministic=mode
        )
        y = layer(x, rngs=key, deterministic=mode)
        np.testing.assert_array_equal(y, expected + params["bias"][None])
        np.testing.assert_array_equal(dense.apply({"params": params}, x, mode, key), y)
    _, sown = dense.apply({"params": params}, x, True, mutable="penalties")
    for penalty in (layer.penalty(), *jax.tree.leaves(sown)):
        np.testing.assert_array_equal(penalty, jaxdrop.variational_penalty(*weights))
    assert 0 < float(layer.sparsity()) < 1
    assert dense.apply({"params": params}, method="sparsity") == layer.sparsity()
