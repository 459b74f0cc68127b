"""Attention in the modules of Flax NNX: trained, recorded, as with its function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chance import normal
from jaxdrop.nnx._attention import attention_fn as nnx_fn


def x_of():
    return normal(2, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_an_nnx_module_trains_as_with_flaxs_function(key, shared):
    def outputs(**attention):
        layer = nnx.MultiHeadAttention(
            num_heads=4,
            in_features=16,
            num_kv_heads=2,
            dropout_rate=0.4,
            broadcast_dropout=shared,
            decode=False,
            rngs=nnx.Rngs(0),
            **attention,
        )
        training = layer(x_of(), deterministic=False, is_causal=True)
        return training, layer(x_of(), deterministic=True, is_causal=True)

    ours, flaxs = outputs(attention_fn=nnx_fn), outputs()
    for a, b in zip(ours, flaxs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert jnp.abs(ours[0] - ours[1]).max() > 0.01


def test_weights_are_recorded_where_nnx_asks_for_them(key):
    layer = nnx.MultiHeadAttention(
        num_heads=4,
        in_features=16,
        dropout_rate=0.4,
        decode=False,
        attention_fn=nnx_fn,
        rngs=nnx.Rngs(0),
    )
    _, recorded = nnx.capture(layer, nnx.Intermediate)(
        x_of(), deterministic=True, sow_weights=True
    )
    assert jax.tree.leaves(recorded)[0].shape == (2, 4, 16, 16)
