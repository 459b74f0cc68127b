"""A rate that modules share: set in any way, checked, and never compiled anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from chance import assert_frequency


def test_a_shared_rate_changes_all_modules_without_recompiling():
    rate = jaxdrop.nnx.Rate(jnp.float32(0.5))

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = jaxdrop.nnx.Dropout(rate, rngs=rngs)
            self.linear = nnx.Linear(8, 8, rngs=rngs)
            self.second = jaxdrop.nnx.Dropout(rate, rngs=rngs)

        def __call__(self, x):
            return self.second(jnp.ones_like(self.linear(self.first(x))))

    traces = []

    @nnx.jit
    def run(model, x):
        traces.append(1)
        return model(x)

    model, x = Model(nnx.Rngs(0)), jnp.ones((200, 8))
    for value in (0.0, 0.25, 0.75):
        model.first.rate[...] = jnp.float32(value)
        assert_frequency(np.asarray(run(model, x)) == 0, value or 1e-300)
    assert len(traces) == 1
    kinds = {type(leaf) for _, leaf in nnx.to_flat_state(nnx.state(model))}
    assert jaxdrop.nnx.Rate in kinds
    params = nnx.state(model, nnx.Param)
    assert not [p for p, _ in nnx.to_flat_state(params) if "rate" in p]


def test_a_shared_rate_is_made_from_a_number_or_an_array():
    for value in (0.5, jnp.float32(0.5), np.float64(0.5)):
        rate = jaxdrop.nnx.Rate(value)
        assert rate[...].dtype == jnp.float32 and rate[...] == 0.5
    with pytest.raises(ValueError, match="rate is the probability"):
        jaxdrop.nnx.Rate(1.5)
    graph, state = nnx.split(jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(0.5)))
    assert nnx.merge(graph, state).rate[...] == 0.5


X = jnp.ones((4, 6))


def by_pure_dict(module, number):
    state = nnx.state(module)
    nnx.replace_by_pure_dict(state, {"rate": number})
    nnx.update(module, state)


WAYS = {
    "index": lambda module, number: module.rate.__setitem__(..., number),
    "set_value": lambda module, number: module.rate.set_value(number),
    "value": lambda module, number: setattr(module.rate, "value", number),
    "raw": lambda module, number: module.rate.set_raw_value(number),
    "update": lambda module, number: nnx.update(module, nnx.State({"rate": number})),
    "pure dict": by_pure_dict,
}
RATED = {
    "Dropout": lambda rate: jaxdrop.nnx.Dropout(rate),
    "StochasticDepth": lambda rate: jaxdrop.nnx.StochasticDepth(rate),
    "DropConnectLinear": lambda rate: jaxdrop.nnx.DropConnectLinear(
        6, 5, rate, rngs=nnx.Rngs(0)
    ),
}


@pytest.mark.filterwarnings("ignore:'.value' setter:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variable", [jaxdrop.nnx.Rate, nnx.Variable])
def test_a_shared_rate_is_set_in_any_way(way, variable):
    if variable is nnx.Variable and way == "index":
        pytest.skip("a variable that holds a number has no entries to set")
    key = jax.random.key(0)
    for name, make in RATED.items():
        start = 0.5 if variable is jaxdrop.nnx.Rate else jnp.float32(0.5)
        module = make(variable(start))
        WAYS[way](module, 0.25)
        fixed = make(0.25)
        expected = fixed(X, rngs=key)
        np.testing.assert_allclose(module(X, rngs=key), expected, rtol=1e-6)
        compiled = nnx.jit(lambda m, k: m(X, rngs=k))(module, key)
        np.testing.assert_allclose(compiled, expected, rtol=1e-5, err_msg=name)


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore:'.value' setter:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [1.5, -0.25, float("nan")])
def test_a_number_that_is_no_probability_is_refused(way, number):
    module = jaxdrop.nnx.Dropout(jaxdrop.nnx.Rate(0.5))
    with pytest.raises(ValueError, match=r"rate is the probability .* got"):
        WAYS[way](module, number)
        module(X, rngs=jax.random.key(0))


def test_other_knobs_may_be_variables_that_hold_numbers():
    make = lambda price, temperature: jaxdrop.nnx.ConcreteDropout(
        nnx.Linear(6, 5, rngs=nnx.Rngs(0)),
        weight_regularizer=price,
        dropout_regularizer=price,
        temperature=temperature,
    )
    fixed, key = make(2e-3, 0.2), jax.random.key(0)
    for number in (2e-3, np.float32(2e-3)):
        knob = nnx.Variable(jnp.float32(1.0))
        module = make(knob, nnx.Variable(0.2))
        nnx.update(module, nnx.State({"weight_regularizer": number}))
        np.testing.assert_allclose(module.penalty(), fixed.penalty(), rtol=1e-5)
        np.testing.assert_allclose(module(X, rngs=key), fixed(X, rngs=key), rtol=1e-5)
    layer = jaxdrop.nnx.VariationalLinear(
        6, 5, threshold=nnx.Variable(-30.0), rngs=nnx.Rngs(0)
    )
    assert layer.sparsity() == 1
    assert not layer(X, deterministic=True).any()


def test_a_rate_may_be_an_abstract_array():
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    assert jaxdrop.nnx.Rate(shape).get_raw_value() is shape
