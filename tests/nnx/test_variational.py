"""Variational layers of NNX: penalties of a model."""

import numpy as np
import pytest
from flax import nnx

import jaxdrop
from chance import normal


@pytest.fixture
def x():
    return normal(6, 8)


def test_penalties_of_a_model_are_summed_over_its_modules(x):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        jaxdrop.nnx.VariationalLinear(8, 4, rngs=rngs),
        nnx.relu,
        jaxdrop.nnx.VariationalLinear(4, 2, rngs=rngs),
    )
    kind = jaxdrop.nnx.VariationalLinear
    total = lambda model: sum(
        module.penalty()
        for _, module in nnx.iter_modules(model)
        if isinstance(module, kind)
    )
    expected = model.layers[0].penalty() + model.layers[2].penalty()
    np.testing.assert_allclose(total(model), expected, rtol=1e-6)
    gradient = nnx.grad(total)(model)
    assert (gradient["layers"][2]["kernel_log_variance"][...] < 0).all()
