"""The bases of NNX modules: tables, subclasses, and the mode of a model."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules.layers import concrete, drop_connect

import jaxdrop
import specimens
from jaxdrop.nnx import _module

X = jnp.ones((4, 6))
CELLS = {"RecurrentDropoutLSTMCell", "VariationalCell", "ZoneoutCell"}
"""Specimens inside nnx.RNN, of which Flax itself cannot make a table."""


@pytest.mark.parametrize("name", sorted(specimens.NNX.keys() - CELLS))
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_table_of_a_module_can_be_made(name, deterministic):
    specimen = specimens.NNX[name]
    module = specimen.make(deterministic=deterministic, rngs=nnx.Rngs(0))
    table = nnx.tabulate(module, *specimen.data)
    assert type(module).__name__ in table


def test_a_table_of_a_module_of_ones_own_can_be_made():
    class Halve(jaxdrop.nnx.DropoutModule):
        def _regularize(self, key, x, rate, deterministic):
            return x if deterministic else x / 2

    module = Halve(0.5, deterministic=True)
    assert "Halve" in nnx.tabulate(module, X)
    assert module(X) is X
    assert (module(X, deterministic=False, rngs=jax.random.key(0)) == 0.5).all()


def test_a_subclass_may_have_any_keyword():
    class Mine(jaxdrop.nnx.Dropout):
        def __init__(self, p, **mode):
            super().__init__(p, **mode)

    assert Mine(p=0.5, deterministic=True).rate == 0.5


@pytest.fixture
def x(key):
    return jax.random.normal(key, (6, 8))


def test_nnx_layers_follow_the_mode_of_their_model(x):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        concrete(nnx.Linear(8, 8, rngs=rngs)),
        jaxdrop.nnx.VariationalLinear(8, 8, log_variance_init=0.0, rngs=rngs),
        jaxdrop.nnx.DropConnectLinear(8, 4, 0.5, rngs=rngs),
    )
    assert (model(x) != model(x)).any()
    view = nnx.view(model, deterministic=True)
    np.testing.assert_array_equal(view(x), view(x))
    model.eval()
    np.testing.assert_array_equal(model(x), view(x))
    model.train()
    assert (model(x) != view(x)).any()
    twin = pickle.loads(pickle.dumps(drop_connect()))
    np.testing.assert_array_equal(twin(x), drop_connect()(x))


def test_the_base_of_modules_computes_nothing():
    base = _module.DropoutModule(0.5, rngs=nnx.Rngs(0))
    with pytest.raises(NotImplementedError):
        base(jnp.ones(2))
    base.deterministic = True
    base.set_view()  # of nnx.view, with no mode to set
    assert base.deterministic
