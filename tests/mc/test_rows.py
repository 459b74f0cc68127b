"""Shared draws: rows one by one, in any batch, layout and number of arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from jaxdrop import mc

samples = at_once(mc.samples)


def test_rows_that_are_equal_stay_equal_only_under_shared_draws(net, key):
    x = np.concatenate([net.x, net.x])
    run = lambda **kw: samples(net.apply, key, net.params, x, num_samples=4, **kw)
    shared, independent = jax.device_get((run(draws="shared"), run()))
    np.testing.assert_array_equal(shared[:, :6], shared[:, 6:])
    assert (independent[:, :6] != independent[:, 6:]).any((1, 2)).all()
    assert (shared[0] != shared[1]).any()


def test_a_shared_draw_does_not_depend_on_the_batch(net, key):
    run = lambda x: samples(
        net.apply, key, net.params, x, num_samples=4, draws="shared"
    )
    x = np.asarray(net.x)
    whole = np.asarray(run(x))
    for rows in (slice(2, 5), slice(5, 0, -2), slice(0, 1)):
        np.testing.assert_array_equal(run(x[rows]), whole[:, rows])


def test_the_masks_of_a_shared_draw_are_the_same_for_every_batch(key):
    apply = lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0)
    x = np.random.default_rng(0).normal(size=(7, 40)).astype(np.float32)
    f = jax.jit(mc.function_draw(apply, key))
    whole = np.asarray(f(x))
    for rows in (slice(0, 1), slice(1, 3), slice(6, None), slice(None, None, -2)):
        np.testing.assert_array_equal(f(x[rows]), whole[rows])


def test_the_outputs_keep_the_layout_of_the_function(key):
    def apply(key, x):  # time first, and the batch last in one output
        noisy = x * jax.random.normal(key, x.shape)
        return noisy, noisy.sum((0, 2)), noisy[0].T

    x = jnp.ones((5, 4, 3))
    drawn = samples(apply, key, x, num_samples=2, draws="shared", batch_axis=1)
    drawn = jax.device_get(drawn)
    plain = jax.eval_shape(lambda: mc.samples(apply, key, x, num_samples=2))
    assert [y.shape for y in drawn] == [y.shape for y in plain]
    np.testing.assert_array_equal(drawn[0], drawn[0][:, :, :1].repeat(4, axis=2))
    np.testing.assert_array_equal(drawn[2], drawn[2][:, :, :1].repeat(4, axis=2))


def test_several_arguments_may_have_rows(key):
    def apply(key, a, scale, b):
        return scale * (a + b["more"]) * jax.random.normal(key, a.shape)

    args = (jnp.ones((4, 2)), jnp.float32(2), {"more": jnp.ones((4, 2))})
    drawn = samples(
        apply,
        key,
        *args,
        num_samples=2,
        draws="shared",
        batch_axis=(0, None, 0),
    )
    assert drawn.shape == (2, 4, 2)
    drawn = np.asarray(drawn)
    assert (drawn == drawn[:, :1]).all()


def test_what_cannot_be_taken_row_by_row_is_told(net, key):
    run = lambda fn, **kw: samples(fn, key, net.x, num_samples=2, draws="shared", **kw)
    noise = lambda key, x: x * jax.random.normal(key, x.shape)
    with pytest.raises(ValueError, match="one entry per input row"):
        run(lambda key, x: noise(key, x).sum())
    with pytest.raises(ValueError, match="one entry per input row"):
        run(lambda key, x: noise(key, x) @ noise(key, x).T)
    with pytest.raises(ValueError, match="batch_axis 2 is out of bounds"):
        run(noise, batch_axis=2)
    with pytest.raises(ValueError, match="for each of the 1 arguments"):
        run(noise, batch_axis=(None, 0))
    with pytest.raises(ValueError, match="need an argument whose rows share them"):
        samples(lambda key: jax.random.normal(key), key, num_samples=2, draws="shared")


def test_no_rows_give_no_outputs(net, key):
    drawn = samples(
        net.apply, key, net.params, net.x[:0], num_samples=2, draws="shared"
    )
    assert drawn.shape == (2, 0, 4)
