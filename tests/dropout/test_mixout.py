"""What is particular to mixout: it is dropout of the distance to a reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency, assert_mean, normal


def published_formula(weights, reference, kept, rate):
    """``((1 - m) w0 + m w - p w0) / (1 - p)`` with m = 1 where w stays, in float64."""
    w, w0 = np.asarray(weights, np.float64), np.asarray(reference, np.float64)
    return ((1 - kept) * w0 + kept * w - rate * w0) / (1 - rate)


def test_it_computes_the_published_formula(key):
    weights, reference = normal(2, 50, 40)
    mixed = jaxdrop.mixout(key, weights, reference, rate=0.7)
    kept = np.asarray(jaxdrop.masks.bernoulli(key, weights.shape, rate=0.7))
    expected = published_formula(weights, reference, kept, 0.7)
    np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mixed == reference, ~kept)
    assert_frequency(~kept, 0.7)


def test_the_mean_over_keys_is_the_weights_themselves(key):
    weights, reference = normal(2, 30)
    mix = lambda key: jaxdrop.mixout(key, weights, reference, rate=0.7)
    assert_mean(jax.vmap(mix)(jax.random.split(key, 4096)), weights)


def test_the_gradient_of_a_weight_that_stays_is_scaled(key):
    weights, reference = normal(2, 200)
    loss = lambda weights: jaxdrop.mixout(key, weights, reference, rate=0.75).sum()
    kept = jaxdrop.masks.bernoulli(key, (200,), rate=0.75)
    np.testing.assert_array_equal(jax.grad(loss)(weights), jnp.where(kept, 4.0, 0.0))


def test_the_limits_are_the_weights_and_the_reference(key):
    weights, reference = normal(2, 50)
    mix = jax.jit(lambda rate: jaxdrop.mixout(key, weights, reference, rate=rate))
    np.testing.assert_array_equal(mix(0.0), weights)
    np.testing.assert_array_equal(mix(1.0), reference)
    loss = lambda weights: jaxdrop.mixout(key, weights, reference, rate=1.0).sum()
    assert not jax.grad(loss)(weights).any()


def test_leaves_of_a_tree_are_selected_and_keep_the_masks_of_drop_connect(key):
    params = {
        "head": {"kernel": jnp.ones((8, 8))},
        "body": {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8), "step": jnp.int32(3)},
    }
    pretrained = jax.tree.map(jnp.zeros_like, params)
    where = lambda path, leaf: path == "body/kernel"
    mixed = jaxdrop.mixout(key, params, pretrained, rate=0.5, where=where)
    dropped = jaxdrop.drop_connect(key, params, rate=0.5, where=where)
    jax.tree.map(np.testing.assert_array_equal, mixed, dropped)
    assert (mixed["body"]["kernel"] == 0).any()
    assert mixed["head"]["kernel"] is params["head"]["kernel"]
    assert mixed["body"]["step"] is params["body"]["step"]


def test_half_precision_is_mixed_in_single(key):
    weights = jnp.full((1000,), 1.0, jnp.bfloat16)
    reference = jnp.full((1000,), 0.99, jnp.bfloat16)
    mixed = jaxdrop.mixout(key, weights, reference, rate=0.1)
    kept = np.asarray(jaxdrop.masks.bernoulli(key, (1000,), rate=0.1))
    exact = published_formula(weights, reference, kept, 0.1)
    np.testing.assert_array_equal(mixed, jnp.asarray(exact, jnp.bfloat16))


def test_rejects_a_reference_of_another_shape(key):
    with pytest.raises(ValueError, match="must have the same shape"):
        jaxdrop.mixout(key, jnp.ones((4, 3)), jnp.ones((3,)), rate=0.5)
    with pytest.raises(ValueError, match="bias"):
        jaxdrop.mixout(key, {"bias": jnp.ones(3)}, {"other": jnp.ones(3)}, rate=0.5)


def test_trees_that_differ_and_a_choice_that_is_no_function_are_named(key):
    a, b = {"a": jnp.ones(3)}, {"a": jnp.ones(3), "b": jnp.ones(3)}
    with pytest.raises(ValueError, match="mixout: params and reference must"):
        jaxdrop.mixout(key, a, b, rate=0.5)
    for call in (
        lambda: jaxdrop.mixout(key, a, a, rate=0.5, where="kernel"),
        lambda: jaxdrop.drop_connect(key, a, rate=0.5, where="kernel"),
    ):
        with pytest.raises(TypeError, match="where must be a function"):
            call()
