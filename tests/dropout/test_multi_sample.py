"""What is particular to multi-sample dropout: one head under several keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import normal


def test_sample_t_is_the_head_under_the_key_folded_with_t(key):
    x = normal(4, 16)
    head = lambda key: {"logits": jaxdrop.dropout(key, x, rate=0.5)}
    stacked = jaxdrop.multi_sample(key, head, num_samples=5)["logits"]
    alone = [head(jax.random.fold_in(key, t))["logits"] for t in range(5)]
    np.testing.assert_array_equal(stacked, jnp.stack(alone))
    fewer = jaxdrop.multi_sample(key, head, num_samples=2)["logits"]
    np.testing.assert_array_equal(stacked[:2], fewer)


def test_the_trunk_runs_once(key):
    kernel = jnp.ones((256, 256)) * 0.01

    def flops(num_samples):
        def loss(x):
            features = jnp.tanh(x @ kernel @ kernel)
            head = lambda key: jaxdrop.dropout(key, features, rate=0.5).sum()
            return jaxdrop.multi_sample(key, head, num_samples=num_samples).mean()

        compiled = jax.jit(loss).lower(jnp.ones((32, 256))).compile()
        return compiled.cost_analysis()["flops"]

    trunk = 2 * 2 * 32 * 256 * 256
    assert flops(4) - flops(1) < trunk


def test_raw_keys_are_taken_and_bad_numbers_are_not(key):
    raw = jax.random.key_data(key)
    head = lambda key: jax.random.uniform(key)
    np.testing.assert_array_equal(
        jaxdrop.multi_sample(raw, head, num_samples=2),
        jaxdrop.multi_sample(key, head, num_samples=2),
    )
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        jaxdrop.multi_sample(key, head, num_samples=0)
    for wrong in (1.5, True, "2", None):
        with pytest.raises(TypeError, match="num_samples must be an integer, got"):
            jaxdrop.multi_sample(key, head, num_samples=wrong)
    with pytest.raises(ValueError, match="multi_sample: key must be a PRNG key"):
        jaxdrop.multi_sample(None, head, num_samples=2)
