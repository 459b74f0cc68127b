"""Concrete dropout around layers of Linen: a learned rate, and a sown price."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from modules.layers import REGULARIZERS

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_linen_concrete_dropout_sows_its_penalty(x, key):
    dense = nn.Dense(4)
    module = jaxdrop.linen.ConcreteDropout(dense, **REGULARIZERS)
    variables = module.init({"params": key, "dropout": key}, x, False)
    assert set(variables) == {"params"}
    params = variables["params"]
    y, sown = module.apply(variables, x, False, key, mutable="penalties")
    dropped = jaxdrop.concrete_dropout(key, x, params["logit_rate"])
    np.testing.assert_array_equal(y, dense.apply({"params": params["layer"]}, dropped))
    expected = jaxdrop.concrete_penalty(
        params["logit_rate"], params["layer"], **REGULARIZERS
    )
    assert jax.tree.leaves(sown) == [expected]
    assert module.apply(variables, method="penalty") == expected
    plain = dense.apply({"params": params["layer"]}, x)
    np.testing.assert_array_equal(module.apply(variables, x, True), plain)


def test_the_prices_may_be_traced(x, key):
    """As in a sweep over strengths, compiled once."""

    def in_nnx(price):
        prices = {"weight_regularizer": price, "dropout_regularizer": 2 * price}
        layer = nnx.Linear(8, 4, rngs=nnx.Rngs(0))
        return jaxdrop.nnx.ConcreteDropout(layer, **prices).penalty()

    def in_linen(price):
        prices = {"weight_regularizer": price, "dropout_regularizer": 2 * price}
        module = jaxdrop.linen.ConcreteDropout(nn.Dense(4), **prices)
        variables = module.init(key, x, True)
        sown = module.apply(variables, x, True, mutable="penalties")[1]
        return sown["penalties"]["value"]

    strengths = jnp.array([1e-3, 1e-1])
    for penalty in (in_nnx, in_linen):
        expected = [penalty(float(price)) for price in strengths]
        np.testing.assert_allclose(
            jax.jit(jax.vmap(penalty))(strengths), expected, rtol=1e-5
        )
        assert np.isfinite(jax.grad(penalty)(0.1))
