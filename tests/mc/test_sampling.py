"""Samples by number: the same in chunks, from keys of every kind, of any outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from chance import assert_mean, assert_uncorrelated
from jaxdrop import mc

KEPT = {"keep_samples": True}


@pytest.mark.parametrize("chunk_size", [1, 5, 64])
def test_samples_do_not_depend_on_the_chunk_size(chunk_size, net, key):
    predict = jax.jit(
        lambda key, params, x: mc.predict(
            net.apply, key, params, x, num_samples=13, chunk_size=chunk_size, **KEPT
        )
    )
    result = predict(key, net.params, net.x)
    expected = net.samples(key, 13)
    np.testing.assert_array_equal(result.samples, expected)
    wide = expected.astype(np.float64)
    np.testing.assert_allclose(result.stats["mean"], wide.mean(0), atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(result.stats["var"], wide.var(0, ddof=1), rtol=2e-6)
    error = wide.std(0, ddof=1) / np.sqrt(13)
    np.testing.assert_allclose(result.stderr["mean"], error, rtol=2e-6)
    assert result.count == result.state.count == 13
    assert result.converged is None


def test_eager_calls_and_raw_keys_give_the_same_samples(net, key):
    expected = net.samples(key, 3)
    for given in (key, jax.random.key_data(key), np.asarray(jax.random.key_data(key))):
        result = mc.predict(net.apply, given, net.params, net.x, num_samples=3, **KEPT)
        np.testing.assert_array_equal(result.samples, expected)


def test_a_function_without_chance_is_an_error(net, key):
    for silent in (
        lambda key, x: x,
        lambda key, x: (jax.random.normal(key), x)[1],
        jax.jit(lambda key, x: jnp.where(jnp.zeros(x.shape, bool), x, 2 * x)),
    ):
        with pytest.raises(ValueError, match=r"mc\.predict: no output depends on the"):
            mc.predict(silent, key, net.x, num_samples=2)
    with pytest.raises(ValueError, match=r"mc\.samples: no output depends on the key"):
        mc.samples(lambda key, x: x, key, net.x, num_samples=2)


def test_what_is_no_array_is_passed_on_as_it_is(net, key):
    options = {"training": True, "depth": 2, "name": "net", "act": None}
    options |= {"labels": np.array(["a", "b"]), "when": np.array(["2020"], "M8[D]")}
    options |= {"since": np.array([5], "m8[s]"), "steps": np.timedelta64(5, "s")}

    def apply(key, given, x):
        assert all(given[name] is options[name] for name in options)
        return net.apply(key, net.params, x)

    for draws in ("independent", "shared"):
        predict = functools.partial(mc.predict, num_samples=2, draws=draws)
        result = jax.eval_shape(lambda call=predict: call(apply, key, options, net.x))
        assert result.stats["mean"].shape == (6, 4)


@pytest.mark.parametrize(
    "impl", ["rbg", pytest.param("unsafe_rbg", marks=pytest.mark.slow)]
)
def test_keys_that_change_when_batched_give_the_same_samples_in_chunks(impl, net):
    key = jax.random.key(0, impl=impl)
    run = at_once(
        lambda chunk: mc.samples(
            net.apply, key, net.params, net.x, num_samples=4, chunk_size=chunk
        )
    )
    np.testing.assert_array_equal(run(4), run(1))


def test_batched_keys_of_rbg_have_the_moments_of_dropout():
    """In chunks too, where such keys would draw other bits, and perhaps the same."""
    key, x = jax.random.key(0, impl="rbg"), jnp.linspace(0.5, 2.0, 6)
    drop = lambda key, x: jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0)
    run = jax.jit(lambda: mc.samples(drop, key, x, num_samples=4000, chunk_size=8))
    drawn = np.asarray(run())
    assert_mean(drawn, x)
    assert_mean((drawn - np.asarray(x)) ** 2, np.asarray(x) ** 2 * 0.3 / 0.7)
    assert_uncorrelated(drawn[:-1, 0], drawn[1:, 0])
    assert_uncorrelated(drawn[:-8, 0], drawn[8:, 0])  # places in a chunk


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_numbers_among_the_outputs_are_samples_like_any_other(chunk_size, key):
    def apply(key):
        return jax.random.normal(key, (2,)), 0.5, 3, True, np.float32(2)

    drawn = at_once(mc.samples)(apply, key, num_samples=3, chunk_size=chunk_size)
    assert [x.shape for x in drawn] == [(3, 2), (3,), (3,), (3,), (3,)]
    for found, expected in zip(drawn[1:], (0.5, 3, True, 2), strict=True):
        np.testing.assert_array_equal(found, expected)
    run = lambda key: mc.predict(apply, key, num_samples=3, chunk_size=chunk_size)
    for found in (run(key), jax.jit(run)(key)):
        assert [float(x) for x in found.stats["mean"][1:]] == [0.5, 3, 1, 2]
    stopped = jax.eval_shape(
        lambda: mc.predict(
            apply, key, num_samples=9, tol=1.0, chunk_size=chunk_size, **KEPT
        )
    )
    assert stopped.samples[1].shape == (9,)


def test_an_axis_that_is_not_mapped_is_named():
    with pytest.raises(ValueError, match="axis_name 'data' is not an axis that is map"):
        mc.predict(
            lambda key: jax.random.normal(key),
            jax.random.key(0),
            num_samples=4,
            axis_name="data",
        )
