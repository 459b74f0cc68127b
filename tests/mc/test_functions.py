"""Shared draws: one function for all rows, all calls and all batch sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import assert_mean
from jaxdrop import mc

SHARED = {"draws": "shared", "keep_samples": True}


def test_samples_are_those_of_predict(net, key):
    for chunk_size in (1, 2, 5):
        drawn = mc.samples(
            net.apply, key, net.params, net.x, num_samples=5, chunk_size=chunk_size
        )
        np.testing.assert_array_equal(drawn, net.samples(key, 5))


def test_rows_that_are_equal_stay_equal_only_under_shared_draws(net, key):
    x = jnp.concatenate([net.x, net.x])
    run = lambda **kw: mc.samples(net.apply, key, net.params, x, num_samples=4, **kw)
    shared, independent = run(draws="shared"), run()
    np.testing.assert_array_equal(shared[:, :6], shared[:, 6:])
    assert (independent[:, :6] != independent[:, 6:]).any((1, 2)).all()
    assert (shared[0] != shared[1]).any()


def test_a_shared_draw_does_not_depend_on_the_batch(net, key):
    run = lambda x: mc.samples(
        net.apply, key, net.params, x, num_samples=4, draws="shared"
    )
    whole = run(net.x)
    for rows in (slice(2, 5), slice(5, 0, -2), slice(0, 1)):
        np.testing.assert_array_equal(run(net.x[rows]), whole[:, rows])


def test_the_masks_of_a_shared_draw_are_the_same_for_every_batch(key):
    apply = lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0)
    x = jax.random.normal(key, (7, 40))
    f = mc.function_draw(apply, key)
    for rows in (slice(0, 1), slice(1, 3), slice(6, None), slice(None, None, -2)):
        np.testing.assert_array_equal(f(x[rows]), f(x)[rows])


def test_a_function_draw_is_one_function(net, key):
    f = mc.function_draw(net.apply, key)
    whole = f(net.params, net.x)
    np.testing.assert_array_equal(f(net.params, net.x), whole)
    np.testing.assert_array_equal(f(net.params, net.x[2:4]), whole[2:4])
    doubled = f(jax.tree.map(lambda w: 2 * w, net.params), net.x)
    np.testing.assert_allclose(doubled, 4 * whole, rtol=1e-6)


def test_sample_t_is_the_function_of_its_key(net, key):
    drawn = mc.predict(
        net.apply, key, net.params, net.x, num_samples=3, chunk_size=2, **SHARED
    ).samples
    for t in range(3):
        f = mc.function_draw(net.apply, jax.random.fold_in(key, t))
        np.testing.assert_array_equal(f(net.params, net.x), drawn[t])


def test_shared_and_independent_draws_have_one_distribution(key):
    def apply(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.3, x.shape), x, 0).sum(-1)

    x = jnp.ones((2, 3))
    for draws in ("shared", "independent"):
        drawn = mc.samples(
            apply, key, x, num_samples=2000, chunk_size=2000, draws=draws
        )
        assert_mean(drawn, 0.9)
        product = (drawn[:, 0] - 0.9) * (drawn[:, 1] - 0.9)
        assert_mean(product, 3 * 0.3 * 0.7 if draws == "shared" else 0.0)


def test_the_outputs_keep_the_layout_of_the_function(key):
    def apply(key, x):  # time first, and the batch last in one output
        noisy = x * jax.random.normal(key, x.shape)
        return noisy, noisy.sum((0, 2)), noisy[0].T

    x = jnp.ones((5, 4, 3))
    drawn = mc.samples(apply, key, x, num_samples=2, draws="shared", batch_axis=1)
    plain = mc.samples(apply, key, x, num_samples=2)
    assert [y.shape for y in drawn] == [y.shape for y in plain]
    np.testing.assert_array_equal(drawn[0], drawn[0][:, :, :1].repeat(4, axis=2))
    np.testing.assert_array_equal(drawn[2], drawn[2][:, :, :1].repeat(4, axis=2))


def test_several_arguments_may_have_rows(key):
    def apply(key, a, scale, b):
        return scale * (a + b["more"]) * jax.random.normal(key, a.shape)

    args = (jnp.ones((4, 2)), jnp.float32(2), {"more": jnp.ones((4, 2))})
    drawn = mc.samples(
        apply,
        key,
        *args,
        num_samples=2,
        draws="shared",
        batch_axis=(0, None, 0),
    )
    assert drawn.shape == (2, 4, 2)
    assert (drawn == drawn[:, :1]).all()


def test_what_cannot_be_taken_row_by_row_is_told(net, key):
    run = lambda fn, **kw: mc.samples(
        fn, key, net.x, num_samples=2, draws="shared", **kw
    )
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
        mc.samples(
            lambda key: jax.random.normal(key), key, num_samples=2, draws="shared"
        )


def test_no_rows_give_no_outputs(net, key):
    drawn = mc.samples(
        net.apply, key, net.params, net.x[:0], num_samples=2, draws="shared"
    )
    assert drawn.shape == (2, 0, 4)


def test_the_joint_covariance_of_a_linear_model_is_the_closed_form(key):
    x = jax.random.normal(key, (5, 3))
    rate = 0.4

    def apply(key, x):  # dropout on the inputs, then a sum
        keep = jax.random.bernoulli(key, 1 - rate, x.shape)
        return jnp.where(keep, x / (1 - rate), 0).sum(-1, keepdims=True)

    count = 4096
    run = jax.jit(lambda: mc.joint(apply, key, x, num_samples=count, chunk_size=512))
    mean, cov = run()
    expected = rate / (1 - rate) * np.asarray(x) @ np.asarray(x).T
    assert mean.shape == (5, 1) and cov.shape == (5, 5)
    drawn = mc.samples(
        apply, key, x, num_samples=count, chunk_size=count, draws="shared"
    )[..., 0]
    centred = np.asarray(drawn) - np.asarray(x).sum(-1)
    assert_mean(centred[:, :, None] * centred[:, None, :], expected)
    np.testing.assert_allclose(cov, np.cov(drawn.T), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean[:, 0], drawn.mean(0), atol=1e-5)
    assert np.linalg.eigvalsh(cov).min() > -1e-6 * np.trace(cov)


def test_joint_takes_one_output(net, key):
    with pytest.raises(ValueError, match="one array as its output, got 2"):
        mc.joint(
            lambda key, x: (x * jax.random.normal(key), x), key, net.x, num_samples=2
        )


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_numbers_among_the_outputs_are_samples_like_any_other(chunk_size, key):
    def apply(key):
        return jax.random.normal(key, (2,)), 0.5, 3, True, np.float32(2)

    drawn = mc.samples(apply, key, num_samples=3, chunk_size=chunk_size)
    assert [x.shape for x in drawn] == [(3, 2), (3,), (3,), (3,), (3,)]
    for found, expected in zip(drawn[1:], (0.5, 3, True, 2), strict=True):
        np.testing.assert_array_equal(found, expected)
    run = lambda key: mc.predict(apply, key, num_samples=3, chunk_size=chunk_size)
    for found in (run(key), jax.jit(run)(key)):
        assert [float(x) for x in found.stats["mean"][1:]] == [0.5, 3, 1, 2]
    stopped = mc.predict(
        apply, key, num_samples=9, tol=1.0, chunk_size=chunk_size, keep_samples=True
    )
    assert stopped.samples[1].shape == (9,)
