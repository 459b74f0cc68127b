"""Penalties that Linen layers sow for the loss."""

import jax
import numpy as np
import pytest
from flax import linen as nn

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_a_layer_that_is_called_twice_has_one_price(x, key):
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = jaxdrop.linen.VariationalDense(8, deterministic=True)
            return layer(layer(x))

    variables = Twice().init(key, x)
    _, sown = Twice().apply(variables, x, mutable="penalties")
    (penalty,) = jax.tree.leaves(sown)
    params = variables["params"]["VariationalDense_0"]
    np.testing.assert_array_equal(
        penalty,
        jaxdrop.variational_penalty(params["kernel"], params["kernel_log_variance"]),
    )
