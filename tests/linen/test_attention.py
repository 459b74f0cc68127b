"""Attention in the modules of Flax Linen: trained, recorded, as with its function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from chance import normal
from jaxdrop.linen._attention import attention_fn as linen_fn


def x_of():
    return normal(2, 16, 16)


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_linen_module_trains_as_with_flaxs_function(key, shared):
    def outputs(**attention):
        layer = linen.MultiHeadDotProductAttention(
            num_heads=4, dropout_rate=0.4, broadcast_dropout=shared, **attention
        )
        variables = layer.init(jax.random.key(1), x_of(), deterministic=True)

        @jax.jit
        def run(variables, x):
            mask = linen.make_causal_mask(jnp.ones((2, 16)))
            how = {"mask": mask, "rngs": {"dropout": key}}
            apply = functools.partial(layer.apply, variables, x, **how)
            return apply(deterministic=False), apply(deterministic=True)

        return run(variables, x_of())

    ours, flaxs = outputs(attention_fn=linen_fn), outputs()
    for a, b in zip(ours, flaxs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert np.abs(np.subtract(*ours)).max() > 0.01


def test_weights_are_recorded_and_products_replaced_where_linen_asks_for_it(key):
    calls = []

    def einsum(*args):
        calls.append(args[0])
        return jnp.einsum(*args)

    layer = linen.MultiHeadDotProductAttention(
        num_heads=4,
        deterministic=True,
        attention_fn=linen_fn,
        qk_attn_weights_einsum_cls=lambda: einsum,
        attn_weights_value_einsum_cls=lambda: einsum,
    )
    variables = layer.init(key, x_of())
    calls.clear()
    _, state = layer.apply(
        variables, x_of(), sow_weights=True, mutable=["intermediates"]
    )
    assert len(calls) == 2
    assert jax.tree.leaves(state["intermediates"])[0].shape == (2, 4, 16, 16)
