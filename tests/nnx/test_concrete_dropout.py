"""Concrete dropout around layers of NNX: a learned rate, and its price."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.layers import REGULARIZERS, concrete

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_concrete_dropout_drops_the_input_and_prices_the_layer(x):
    linear = nnx.Linear(8, 4, rngs=nnx.Rngs(1))
    module = concrete(linear)
    assert float(module.rate) == pytest.approx(0.1)
    key = nnx.Rngs(dropout=0).dropout.fork()()
    dropped = jaxdrop.concrete_dropout(key, x, module.logit_rate[...])
    np.testing.assert_array_equal(module(x), linear(dropped))
    expected = jaxdrop.concrete_penalty(
        module.logit_rate[...], linear.kernel[...], **REGULARIZERS
    )
    np.testing.assert_array_equal(module.penalty(), expected)
    module.eval()
    np.testing.assert_array_equal(module(x), linear(x))
    for twin in (copy.deepcopy(module), nnx.clone(module)):
        np.testing.assert_array_equal(twin(x), linear(x))


def test_concrete_dropout_of_channels_counts_channels(key):
    conv = nnx.Conv(8, 4, (3, 3), rngs=nnx.Rngs(1))
    module = concrete(conv, temperature=2 / 3, broadcast_dims=(1, 2), init_rate=0.3)
    images = jnp.ones((2, 5, 5, 8))
    run = lambda images: module(images, rngs=key)
    assert jax.eval_shape(run, images).shape == (2, 5, 5, 4)
    program = str(jax.make_jaxpr(run)(images))
    assert "u32[2,1,1,8]" in program and "u32[2,5,5,8]" not in program
    expected = jaxdrop.concrete_penalty(
        module.logit_rate[...], conv.kernel[...], **REGULARIZERS, num_inputs=8
    )
    np.testing.assert_array_equal(module.penalty(), expected)


def test_concrete_dropout_learns_its_rate(x):
    module = concrete(nnx.Linear(8, 4, rngs=nnx.Rngs(1)))
    loss = lambda module: (module(x) ** 2).mean() + module.penalty()
    gradient = nnx.grad(loss)(module)
    assert gradient["logit_rate"][...] != 0
    assert (gradient["layer"]["kernel"][...] != 0).any()


def test_a_price_in_a_variable_changes_without_recompiling():
    price = nnx.Variable(jnp.float32(0.0))
    module = jaxdrop.nnx.ConcreteDropout(
        nnx.Linear(8, 4, rngs=nnx.Rngs(1)),
        weight_regularizer=price,
        dropout_regularizer=0.0,
    )
    traces = []

    @nnx.jit
    def penalty(module):
        traces.append(1)
        return module.penalty()

    assert penalty(module) == 0
    price[...] = jnp.float32(1.0)
    assert penalty(module) > 0 and len(traces) == 1
    gradient = nnx.grad(lambda module: module.penalty())(module)
    assert set(gradient) == {"layer", "logit_rate"}
