"""What is particular to LayerDrop: flags for a scan that saves the work of layers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency


def test_layers_are_dropped_at_their_rates(key):
    rates = jnp.array([0.0, 0.2, 0.5, 1.0])
    keys = jax.random.split(key, 20_000)
    kept = jax.vmap(lambda key: jaxdrop.layer_drop(key, 4, rate=rates))(keys)
    assert kept.dtype == bool and kept.shape == (20_000, 4)
    for layer, rate in enumerate(rates.tolist()):
        assert_frequency(~kept[:, layer], rate)


def test_one_number_serves_all_layers_and_layers_are_independent(key):
    keys = jax.random.split(key, 20_000)
    kept = jax.vmap(lambda key: jaxdrop.layer_drop(key, 3, rate=0.2))(keys)
    assert_frequency(~kept.ravel(), 0.2)
    assert_frequency((~kept[:, 0]) & (~kept[:, 1]), 0.04)


def test_flags_at_different_rates_are_nested(key):
    flags = [jaxdrop.layer_drop(key, 500, rate=rate) for rate in (0.1, 0.3, 0.8)]
    for at_less, at_more in itertools.pairwise(flags):
        assert not (at_more & ~at_less).any() and (at_less & ~at_more).any()


def test_evaluation_keeps_all_layers_without_a_key():
    assert (
        jaxdrop.layer_drop(None, 5, rate=0.5, deterministic=True).tolist() == [True] * 5
    )
    assert jaxdrop.layer_drop(None, 5, rate=0).tolist() == [True] * 5


def test_a_traced_flag_and_a_bad_traced_rate_keep_all_layers(key):
    in_mode = jax.jit(lambda d: jaxdrop.layer_drop(key, 64, rate=0.5, deterministic=d))
    assert in_mode(True).all() and not in_mode(False).all()
    at_rate = jax.jit(lambda rate: jaxdrop.layer_drop(key, 64, rate=rate))
    assert at_rate(jnp.float32(1.5)).all() and at_rate(jnp.float32(jnp.nan)).all()


def count_layers_run(key, rate, *, num_layers=12):
    """Runs a network forward and backward, and counts the layers at their work."""
    runs = {"forward": 0, "backward": 0}

    def count(direction):
        jax.debug.callback(lambda: runs.update({direction: runs[direction] + 1}))

    @jax.custom_vjp
    def layer(h):
        count("forward")
        return jnp.sin(h)

    def backward(h, cotangent):
        count("backward")
        return (jnp.cos(h) * cotangent,)

    layer.defvjp(lambda h: (layer(h), h), backward)

    @jax.jit
    @jax.grad
    def gradient(x):
        def step(h, kept):
            return jax.lax.cond(kept, lambda h: h + layer(h), lambda h: h, h), None

        flags = jaxdrop.layer_drop(key, num_layers, rate=rate)
        return jax.lax.scan(step, x, flags)[0]

    jax.block_until_ready(gradient(0.5))
    jax.effects_barrier()
    return runs


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_dropped_layer_is_not_executed(key, rate):
    kept = int(jaxdrop.layer_drop(key, 12, rate=rate).sum())
    assert 0 < kept < 12 or rate in (0.0, 1.0)
    assert count_layers_run(key, rate) == {"forward": kept, "backward": kept}


def test_rejects_what_is_no_stack(key):
    with pytest.raises(ValueError, match="num_layers must be at least 0, got -1"):
        jaxdrop.layer_drop(key, -1, rate=0.5)
    with pytest.raises(ValueError, match="does not broadcast"):
        jaxdrop.layer_drop(key, 3, rate=jnp.ones(4))
    with pytest.raises(ValueError, match="layer_drop: key must be a PRNG key"):
        jaxdrop.layer_drop(None, 3, rate=0.5)


def test_flags_are_a_plain_bernoulli_mask(key):
    flags = jaxdrop.layer_drop(key, 40, rate=0.3)
    np.testing.assert_array_equal(flags, jax.random.bernoulli(key, 0.7, (40,)))


@pytest.mark.parametrize("count", [2.0, "2", None, True])
def test_a_count_that_is_no_integer_is_named(key, count):
    with pytest.raises(TypeError, match="layer_drop: num_layers must be an integer"):
        jaxdrop.layer_drop(key, count, rate=0.5)
    assert jaxdrop.layer_drop(key, np.int64(3), rate=0.5).shape == (3,)
