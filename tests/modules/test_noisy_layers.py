"""Layers with noisy weights: what their errors say."""

import jax.numpy as jnp
import pytest
from flax import nnx
from modules.layers import REGULARIZERS, concrete, drop_connect

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_errors_say_what_is_wrong(x, key):
    with pytest.raises(TypeError, match=r"layer must be a module .* got function"):
        concrete(lambda x: x).penalty()
    with pytest.raises(TypeError, match=r"layer must be a module .* got function"):
        jaxdrop.linen.ConcreteDropout(lambda x: x, **REGULARIZERS).apply(
            {"params": {"logit_rate": jnp.float32(0)}}, x, True, mutable="penalties"
        )
    with pytest.raises(ValueError, match=r"per_example needs .* got shape \(8,\)"):
        drop_connect(per_example=True)(jnp.ones(8))
    with pytest.raises(ValueError, match="per_example needs inputs with 4 axes"):
        jaxdrop.nnx.DropConnectConv(
            2, 3, (3, 3), 0.5, per_example=True, rngs=nnx.Rngs(0)
        )(jnp.ones((5, 5, 2)))
    with pytest.raises(ValueError, match="init_rate must be between 0 and 1"):
        concrete(nnx.Linear(8, 4, rngs=nnx.Rngs(0)), init_rate=0.0)
    with pytest.raises(ValueError, match='evaluation="moments" needs the activation'):
        drop_connect(evaluation="moments")
    with pytest.raises(ValueError, match="evaluation must be one of"):
        jaxdrop.linen.DropConnectDense(4, 0.5, evaluation="median")
    with pytest.raises(TypeError, match=r"VariationalLinear: rngs must be nnx\.Rngs"):
        jaxdrop.nnx.VariationalLinear(8, 4)
    with pytest.raises(ValueError, match="VariationalLinear: there are no keys"):
        layer = jaxdrop.nnx.VariationalLinear(8, 4, rngs=nnx.Rngs(0))
        layer.rngs = nnx.data(None)
        layer(jnp.ones((2, 8)))
