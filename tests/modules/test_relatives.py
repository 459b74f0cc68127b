"""Modules of the relatives: they compute their function, and follow the mode."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdrop


def next_key(seed=0):
    """The first key of a module that was given ``nnx.Rngs(seed)``."""
    return nnx.Rngs(seed).dropout.fork()()


def assert_same(given, expected):
    jax.tree.map(np.testing.assert_array_equal, given, expected)


def embedding():
    ids = jnp.array([[7, 3, 7, 1], [2, 7, 3, 1]])
    embedded = jnp.ones((2, 4, 6))
    function = lambda key, **knobs: jaxdrop.embedding_dropout(
        key, embedded, ids, rate=0.5, **knobs
    )
    return "EmbeddingDropout", {}, (embedded, ids), function


def tokens():
    x = jax.random.normal(jax.random.key(1), (2, 9, 3))
    function = lambda key, **knobs: jaxdrop.token_dropout(
        key, x, rate=0.5, num_prefix_tokens=1, **knobs
    )
    return (
        "TokenDropout",
        {"num_prefix_tokens": 1, "return_indices": True},
        (x,),
        function,
    )


for_each = pytest.mark.parametrize("case", [embedding, tokens])


@for_each
def test_nnx_computes_the_function_and_follows_the_mode(case):
    name, knobs, data, function = case()
    module = getattr(jaxdrop.nnx, name)(0.5, **knobs, rngs=nnx.Rngs(0))
    twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    expected = function(next_key())
    for each in (module, *twins):
        assert_same(each(*data), expected)
    at_call = module(*data, rngs=jax.random.key(5))
    assert_same(at_call, function(jax.random.key(5)))
    module.eval()
    count = int(module.rngs.count[...])
    evaluated = function(None, deterministic=True)
    assert_same(module(*data), evaluated)
    assert_same(nnx.view(twins[0], deterministic=True)(*data), evaluated)
    assert_same(module(*data, deterministic=False, rate=0), evaluated)
    assert int(module.rngs.count[...]) == count
    module.train()
    assert jax.tree.leaves(module(*data))[0].shape == jax.tree.leaves(expected)[0].shape


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


def test_a_shared_rate_and_a_traced_one_reach_embedding_dropout():
    _, _, data, _ = embedding()
    rate = jaxdrop.nnx.Rate(jnp.float32(1.0))
    module = jaxdrop.nnx.EmbeddingDropout(rate, rngs=nnx.Rngs(0))
    assert not module(*data).any()
    rate[...] = jnp.float32(0.0)
    assert_same(module(*data), data[0])


def test_a_branch_is_a_module_that_trains_with_the_rest(key):
    rngs = nnx.Rngs(0)
    block = jaxdrop.nnx.SubsetStochasticDepth(
        nnx.Linear(3, 3, rngs=rngs), 0.5, rngs=rngs
    )
    x = jax.random.normal(key, (8, 3))
    y = block(x)
    kept = np.asarray((y != 0).any(axis=1))
    assert kept.sum() == 4
    np.testing.assert_allclose(y[kept], 2 * block.branch(x)[kept], rtol=1e-5)
    gradient = nnx.grad(lambda block: block(x).sum())(block)
    assert (gradient["branch"]["kernel"][...] != 0).all()
    block.eval()
    assert_same(block(x), block.branch(x))


def test_a_linen_branch_has_its_parameters_within(key):
    block = jaxdrop.linen.SubsetStochasticDepth(nn.Dense(3), 0.5)
    x = jax.random.normal(key, (8, 3))
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


@pytest.mark.parametrize("room", ["nnx", "linen"])
def test_masksembles_is_on_in_every_mode_and_holds_nothing(room):
    module = getattr(jaxdrop, room).Masksembles(4, 2.0, seed=3)
    x = jnp.ones((8, 16))
    run = module if room == "nnx" else lambda x: module.apply({}, x)
    expected = jaxdrop.masksembles(x, jaxdrop.masks.masksembles(3, 16, 4, 2.0))
    assert_same(run(x), expected)
    assert pickle.loads(pickle.dumps(module)) is not None
    if room == "nnx":
        module.eval()
        assert_same(module(x), expected)
        assert not jax.tree.leaves(nnx.state(module))


def test_shake_shake_follows_the_mode(key):
    a, b = jnp.zeros((4, 3)), jnp.ones((4, 3))
    module = jaxdrop.nnx.ShakeShake(rngs=nnx.Rngs(0))
    twin = pickle.loads(pickle.dumps(module))
    expected = jaxdrop.shake_shake(next_key(), a, b)
    for each in (module, twin):
        assert_same(each(a, b), expected)
    module.eval()
    assert_same(module(a, b), jnp.full((4, 3), 0.5))
    in_linen = jaxdrop.linen.ShakeShake()
    assert_same(in_linen.apply({}, a, b, False, key), jaxdrop.shake_shake(key, a, b))
    assert_same(in_linen.apply({}, a, b, deterministic=True), jnp.full((4, 3), 0.5))


@pytest.mark.parametrize("name", ["ShakeDrop", "DropBlock"])
def test_droppers_follow_the_mode_and_take_rates(name, key):
    knobs = {"DropBlock": {"block_size": 2}, "ShakeDrop": {}}[name]
    function = {"DropBlock": jaxdrop.drop_block, "ShakeDrop": jaxdrop.shake_drop}[name]
    x = jax.random.normal(key, (4, 5, 5, 2))
    module = getattr(jaxdrop.nnx, name)(0.4, **knobs, rngs=nnx.Rngs(0))
    assert_same(module(x), function(next_key(), x, rate=0.4, **knobs))
    evaluated = function(None, x, rate=0.4, deterministic=True, **knobs)
    assert_same(nnx.view(module, deterministic=True)(x), evaluated)
    in_linen = getattr(jaxdrop.linen, name)(0.4, **knobs)
    assert_same(in_linen.apply({}, x, False, key), function(key, x, rate=0.4, **knobs))
    assert_same(in_linen.apply({}, x, True), evaluated)
    assert_same(in_linen.apply({}, x, False, key, rate=0), x)


def test_errors_name_the_module():
    with pytest.raises(ValueError, match=r"TokenDropout: rate .* got 1\.5"):
        jaxdrop.nnx.TokenDropout(1.5)
    with pytest.raises(ValueError, match=r"EmbeddingDropout: rate .* got -1"):
        jaxdrop.linen.EmbeddingDropout(-1)
    with pytest.raises(ValueError, match="TokenDropout: there are no keys"):
        jaxdrop.nnx.TokenDropout(0.5)(jnp.ones((4, 2)))
    with pytest.raises(TypeError, match="rate decides a shape"):
        jaxdrop.nnx.TokenDropout(jaxdrop.nnx.Rate(jnp.float32(0.5)), rngs=nnx.Rngs(0))(
            jnp.ones((4, 2))
        )
