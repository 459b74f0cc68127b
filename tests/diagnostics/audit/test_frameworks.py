"""Models among the arguments of an audit, of any framework."""

import equinox as eqx
import jax
import pytest
from diagnostics.cases import KEY, Net, X, audit, only_site
from flax import linen, nnx

import jaxdrop
from jaxdrop import diagnostics


def test_models_may_be_arguments_of_functions():
    model = Net(nnx.Rngs(0))
    run = lambda model, x: model(x).sum()
    assert [s.name for s in audit(run, model, X).active] == [
        f"layers/{i}" for i in (1, 2, 3)
    ]
    rngs = nnx.Rngs(3)
    site = only_site(jaxdrop.nnx.Dropout(0.5), X, rngs=rngs)
    assert (site.name, site.mode) == ("Dropout", "active")
    assert rngs.dropout.count[...] == 0


def test_modules_of_equinox_and_their_dropout():
    class Model(eqx.Module):
        linear: eqx.nn.Linear
        drop: eqx.nn.Dropout

        def __call__(self, key, x):
            """Runs it."""
            x = jaxdrop.dropout(key, x, rate=0.5)
            return self.linear(self.drop(x, key=jax.random.fold_in(key, 1)))

    model = Model(eqx.nn.Linear(8, 3, key=KEY), eqx.nn.Dropout(0.25))
    result = audit(model, KEY, X[0])
    assert [(s.technique, s.rate) for s in result.sites] == [
        ("dropout", 0.5),
        ("jax.random.bernoulli", 0.25),
    ]
    assert not result.findings
    batched = audit(eqx.filter_jit(lambda m, k, x: m(k, x)), model, KEY, X[0])
    assert [s.technique for s in batched.sites] == [s.technique for s in result.sites]


def test_arguments_in_the_wrong_place_are_named():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            """Runs it."""
            return linen.Dropout(0.5, deterministic=False)(x)

    for args, given in (((X,), r"shape \(4, 8\)"), ((), "nothing")):
        with pytest.raises(TypeError, match=rf"audit\(module, variables, x\).*{given}"):
            audit(Net(), *args)
    for first, given in ((None, "None"), (X, "an array"), ({}, "a dict")):
        with pytest.raises(TypeError, match=f"function or a model.*got {given}"):
            audit(first, X)
    for cls in (Net, nnx.Linear):
        with pytest.raises(TypeError, match=f"the class {cls.__name__}; pass an inst"):
            audit(cls, X)
    with pytest.raises(TypeError, match="is Net meant to be first"):
        audit(X, Net(), {})
    with pytest.raises(TypeError, match="is Linear meant to be first"):
        diagnostics.assert_active(X, nnx.Linear(8, 8, rngs=nnx.Rngs(0)))


def test_a_model_that_is_closed_over_is_named():
    model = nnx.Sequential(jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"closes over\. Pass the model"):
        audit(lambda x: model(x), X)
    assert audit(lambda model, x: model(x), model, X).active
