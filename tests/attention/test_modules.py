"""In the attention modules of Flax: its masks, its results, at less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention.flax_functions import FUNCTIONS, for_both, transparent
from flax import linen, nnx

import jaxdrop
from chance import normal
from jaxdrop.linen._attention import attention_fn as linen_fn
from jaxdrop.nnx._attention import attention_fn as nnx_fn


@for_both
@pytest.mark.parametrize("shared", [True, False])
def test_the_masks_are_flaxs_own_bit_for_bit(key, framework, shared):
    options = {
        "dropout_rng": key,
        "dropout_rate": 0.4,
        "broadcast_dropout": shared,
        "mask": jnp.tril(jnp.ones((1, 1, 16, 16))),  # of floats, as Flax makes them
    }
    ours, flaxs = (f(*transparent(), **options) for f in FUNCTIONS[framework])
    np.testing.assert_array_equal(ours > 0, flaxs > 0)
    np.testing.assert_allclose(ours, flaxs, rtol=1e-5, atol=1e-6)
    first = np.moveaxis(ours, 2, 1)[:1, :1] > 0
    assert (first == (np.moveaxis(ours, 2, 1) > 0)).all() == shared


@for_both
@pytest.mark.parametrize("off", [{"deterministic": True}, {"dropout_rate": 0.0}])
def test_evaluation_is_jaxs_attention_operation_for_operation(framework, off):
    ours, _ = FUNCTIONS[framework]
    options = {"dropout_rate": 0.1, **off}
    arrays = transparent()
    run = jax.make_jaxpr(lambda *x: ours(*x, **options))
    jaxs = jax.make_jaxpr(jax.nn.dot_product_attention)
    assert str(run(*arrays)) == str(jaxs(*arrays))


def x_of():
    return normal(2, 16, 16)


def layer_of(framework, key, **options):
    """A module of Flax as a function of its input and the mode."""
    if framework == "nnx":
        return nnx.MultiHeadAttention(
            num_heads=4, in_features=16, decode=False, rngs=nnx.Rngs(0), **options
        )
    layer = linen.MultiHeadDotProductAttention(num_heads=4, **options)
    variables = jax.eval_shape(
        lambda key: layer.init(key, x_of(), deterministic=True), key
    )
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), variables)
    return lambda x, deterministic: layer.apply(
        variables, x, deterministic=deterministic
    )


@for_both
def test_a_module_in_evaluation_calls_jaxs_attention_and_no_other(key, framework):
    """Flax itself leaves it for a path of its own where the rate is positive."""

    def program(attention_fn):
        layer = layer_of(framework, key, dropout_rate=0.1, attention_fn=attention_fn)
        run = lambda x: layer(x, deterministic=True)
        return str(jax.make_jaxpr(run)(x_of()))

    def jaxs(query, key, value, *_, **__):
        return jax.nn.dot_product_attention(query, key, value)

    ours, flaxs = FUNCTIONS[framework]
    assert program(ours) == program(jaxs) != program(flaxs)


@for_both
def test_a_rate_may_be_traced_and_a_wrong_one_is_refused(key, framework):
    ours, _ = FUNCTIONS[framework]
    run = jax.jit(lambda rate: ours(*transparent(), dropout_rng=key, dropout_rate=rate))
    assert np.isnan(run(np.float32(2))).all()
    assert np.isfinite(run(np.float32(0.4))).all() and run._cache_size() == 1
    with pytest.raises(ValueError, match="rate is the probability"):
        ours(*transparent(), dropout_rng=key, dropout_rate=2.0)
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        ours(*transparent(), dropout_rate=0.4)


def test_the_adapters_are_public():
    assert jaxdrop.nnx.attention_fn is nnx_fn
    assert jaxdrop.linen.attention_fn is linen_fn
