"""Relatives in both frameworks: modes, rates and errors."""

import pickle

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from modules.relatives import assert_same, next_key

import jaxdrop
from chance import normal


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
    x = normal(4, 5, 5, 2)
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
