"""L0 layers of Linen, and of NNX beside them: gates, and weights that are counted."""

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


@pytest.mark.parametrize("per_example", [False, True])
def test_l0_layers_gate_their_inputs_and_count_weights(x, key, per_example):
    layer = jaxdrop.nnx.L0Linear(8, 4, per_example=per_example, rngs=nnx.Rngs(1))
    dense = jaxdrop.linen.L0Dense(4, per_example=per_example)
    params = {
        name: getattr(layer, name)[...] for name in ("kernel", "bias", "log_alpha")
    }
    assert np.abs(params["log_alpha"]).max() < 0.1  # around init_rate=0.5
    shapes = jax.tree.map(jnp.shape, dense.init(key, x, True)["params"])
    assert shapes == jax.tree.map(jnp.shape, params)
    log_alpha = params["log_alpha"][None]
    drawn = jnp.broadcast_to(log_alpha, x.shape) if per_example else log_alpha
    gates = jaxdrop.hard_concrete(key, drawn)
    expected = (x * gates) @ params["kernel"]
    y = layer(x, rngs=key)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(dense.apply({"params": params}, x, False, key), y)
    _, sown = dense.apply({"params": params}, x, True, mutable="penalties")
    for penalty in (layer.penalty(), *jax.tree.leaves(sown)):
        np.testing.assert_allclose(
            penalty, 4 * jaxdrop.hard_concrete_penalty(log_alpha), rtol=1e-6
        )
