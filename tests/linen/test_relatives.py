"""Linen modules of the relatives: they compute their function, and follow the mode."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from modules.relatives import assert_same, for_each

import jaxdrop
from chance import normal


@for_each
def test_linen_computes_the_function_and_follows_the_mode(case, key):
    name, knobs, data, function = case()
    module = getattr(jaxdrop.linen, name)(0.5, **knobs)
    assert pickle.loads(pickle.dumps(module)) == module
    assert_same(module.apply({}, *data, False, key), function(key))
    run = lambda seed: module.apply(
        {}, *data, deterministic=False, rngs={"dropout": jax.random.key(seed)}
    )
    assert_same(run(1), run(1))
    assert any(
        (a != b).any()
        for a, b in zip(jax.tree.leaves(run(1)), jax.tree.leaves(run(2)), strict=True)
    )
    evaluated = function(None, deterministic=True)
    assert_same(module.apply({}, *data, deterministic=True), evaluated)
    assert_same(module.clone(deterministic=True).apply({}, *data), evaluated)


def test_a_linen_branch_has_its_parameters_within(key):
    block = jaxdrop.linen.SubsetStochasticDepth(nn.Dense(3), 0.5)
    x = normal(8, 3)
    variables = block.init(key, x, deterministic=True)
    assert jax.tree.map(jnp.shape, variables["params"]) == {
        "branch": {"bias": (3,), "kernel": (3, 3)}
    }
    y = block.apply(variables, x, False, key)
    assert int((y != 0).any(axis=1).sum()) == 4
    evaluated = block.apply(variables, x, True)
    plain = nn.Dense(3).apply({"params": variables["params"]["branch"]}, x)
    np.testing.assert_array_equal(evaluated, plain)
    trained_from_scratch = block.init({"params": key, "dropout": key}, x, False)
    assert_same(trained_from_scratch, variables)
