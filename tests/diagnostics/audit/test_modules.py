"""The technique and the rate of a module."""

import functools
import types

import jax.numpy as jnp
import pytest
from diagnostics.cases import X, only_site
from flax import linen, nnx

import jaxdrop
from jaxdrop.diagnostics._audit import modules


def test_a_shared_rate_is_read_from_the_model():
    rate = jaxdrop.nnx.Rate(0.25)
    model = nnx.Sequential(
        jaxdrop.nnx.Dropout(rate, rngs=nnx.Rngs(0)), nnx.Linear(8, 8, rngs=nnx.Rngs(1))
    )
    assert only_site(model, X).rate == 0.25
    rate[...] = jnp.float32(0)
    assert only_site(model, X).mode == "rate 0"


class Own(jaxdrop.nnx.Dropout):
    """A class of a user, which is named after what it inherits."""


@pytest.mark.whole
@pytest.mark.parametrize(
    ("kind", "technique"),
    [
        (jaxdrop.nnx.SpatialDropout, "spatial_dropout"),
        (jaxdrop.linen.StochasticDepth, "stochastic_depth"),
        (jaxdrop.nnx.DropConnectLinear, "drop_connect"),
        (jaxdrop.linen.L0Dense, "hard_concrete"),
        (Own, "dropout"),
        (nnx.Dropout, "flax.nnx.Dropout"),
        (linen.Dropout, "flax.linen.Dropout"),
        (dict, "dict"),
    ],
)
def test_a_class_has_the_technique_of_its_function(kind, technique):
    assert modules.technique_of(kind) == technique


def test_an_attention_shares_its_mask_among_several_heads_only():
    attention = lambda heads, shares: types.SimpleNamespace(
        num_heads=heads, broadcast_dropout=shares
    )
    assert modules.shares_heads(attention(2, True))
    assert not modules.shares_heads(attention(1, True))
    assert not modules.shares_heads(attention(2, False))
    assert not modules.shares_heads(nnx.Dropout(0.5))


def test_an_attention_delegates_to_a_module_and_not_to_a_function():
    attention = lambda attend: types.SimpleNamespace(attention_fn=attend)
    assert modules.delegates(attention(nnx.Dropout(0.5)))
    for function in (jaxdrop.nnx.attention_fn, functools.partial(print), None):
        assert not modules.delegates(attention(function))
    assert not modules.delegates(nnx.Dropout(0.5))


def test_the_rate_of_a_call_goes_before_that_of_its_module():
    module = nnx.Dropout(0.25)
    assert modules.rate_of(module, {}) == 0.25
    assert modules.rate_of(module, {"rate": 0.5}) == 0.5
    assert modules.rate_of(module, {"rate": None}) == 0.25
    attention = types.SimpleNamespace(dropout_rate=0.125)
    assert modules.rate_of(attention, {}) == 0.125
    assert modules.rate_of(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), {}) is None
