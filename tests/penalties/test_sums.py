"""Sums over leaves and means over examples: precision, coefficients and weights."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from at_once import at_once
from chance import normal
from jaxdrop import penalties

l2 = at_once(penalties.l2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("penalty", ["l1", "l2", "toward"])
def test_a_million_ones_are_a_million(penalty, dtype):
    """No overflow (float16 ends at 65504), no sum that gets stuck (bfloat16 at 256)."""
    ones = {"a": jnp.ones((1000, 900), dtype), "b": jnp.ones((100_000,), dtype)}
    function = {
        "l1": penalties.l1,
        "l2": penalties.l2,
        "toward": lambda p: penalties.toward_reference(p, {"a": 0 * p["a"], **twos}),
    }[penalty]
    twos = {"b": 2 * ones["b"]}
    value, gradient = jax.jit(jax.value_and_grad(function))(ones)
    assert value == 1_000_000 and value.dtype == jnp.float32
    factors = {"l1": (1, 1), "l2": (2, 2), "toward": (2, -2)}[penalty]
    expected = {n: f * w for f, (n, w) in zip(factors, ones.items(), strict=True)}
    chex.assert_trees_all_equal(gradient, expected)


def test_a_large_leaf_is_summed_to_float32_accuracy():
    weights = normal(2_000_000)
    exact = (np.asarray(weights, np.float64) ** 2).sum()
    np.testing.assert_allclose(jax.jit(penalties.l2)(weights), exact, rtol=1e-6)


def test_large_coefficients_are_right_or_refused_by_name():
    params = {"kernel": jnp.full((1, 1), 1e-20)}
    numbers = (2**31, 2**40, 10**20, np.int64(2**62), np.uint64(2**63), 1e38)
    values = at_once(lambda: [penalties.l1(params, coefficient=n) for n in numbers])()
    np.testing.assert_allclose(values, np.float64(numbers) * 1e-20, rtol=1e-6)
    for number in (10**40, 10**400, 1e300, np.float64(1e39)):
        for penalize in (
            lambda n: penalties.l1(params, coefficient=n),
            lambda n: penalties.orthogonal(params, coefficient=n),
            lambda n: penalties.confidence(jnp.ones((2, 3)), coefficient=n),
        ):
            with pytest.raises(ValueError, match="coefficient"):
                penalize(number)
        with pytest.raises(ValueError, match="l2"):
            penalties.elastic_net(params, l1=0.0, l2=number)
    for number in ("1", None, 1j, True, jnp.array(True), lambda step: 0.1):
        with pytest.raises(TypeError, match="coefficient must be"):
            penalties.l2(params, coefficient=number)


def test_a_variable_of_nnx_may_hold_the_coefficient():
    params = {"kernel": jnp.ones((2, 2))}
    held = nnx.Variable(jnp.float32(0.5))
    assert l2(params, coefficient=held) == 2
    held[...] = jnp.float32(-0.5)
    assert np.isnan(l2(params, coefficient=held))


def test_numbers_in_a_tree_are_settings():
    assert l2({"kernel": jnp.ones(3), "rate": 0.5}) == 3


@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf, jnp.nan])
def test_a_traced_coefficient_that_is_not_finite_gives_nan(bad):
    priced = lambda c: penalties.l2({"kernel": jnp.ones((2, 2))}, coefficient=c)
    assert np.isnan(jax.jit(priced)(jnp.float32(bad)))


def test_a_traced_coefficient_that_is_negative_gives_nan():
    params = {"kernel": jnp.ones((4, 3))}
    functions = (penalties.l1, penalties.l2, penalties.group_lasso)

    @jax.jit
    def priced(coefficient):
        net = penalties.elastic_net(params, l1=coefficient, l2=0.0)
        return [penalty(params, coefficient=coefficient) for penalty in functions], net

    for bad in (-1, np.nan):
        assert np.isnan(jax.tree.leaves(priced(np.float32(bad)))).all()
    assert l2(params, coefficient=jnp.int32(2)) == 24


def test_weights_of_the_host_do_not_wrap_and_are_checked():
    logits = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    labels = jnp.array([0, 0])
    loss = at_once(
        functools.partial(penalties.smoothed_cross_entropy, logits, labels, alpha=0.0)
    )
    each = np.array([np.log1p(np.exp(-1)), np.log(2)])
    for weights in (
        [2**40, 2**41],
        np.array([2**63, 2**64 - 1], np.uint64),
        [10**30, 2 * 10**30],
        [3e38, 2e38],
    ):
        ratio = np.asarray([float(w) for w in weights])
        expected = np.average(each, weights=ratio / ratio.max())
        np.testing.assert_allclose(loss(weights=weights), expected, rtol=1e-6)
    for bad in ([-1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0], [10**40, 1]):
        with pytest.raises(ValueError, match="weights"):
            loss(weights=bad)
    for bad in (["a", "b"], [1j, 2], [None, 1]):
        with pytest.raises(TypeError, match="weights"):
            loss(weights=bad)
    for bad in (jnp.array([-1.0, 2.0]), jnp.array([jnp.inf, 1.0])):
        assert np.isnan(loss(weights=bad))


def test_where_nothing_weighs_the_penalty_is_zero():
    logits, labels = jnp.full((3, 4), jnp.nan), jnp.full(3, -1)
    none = jnp.zeros(3)
    values = at_once(
        lambda: (
            penalties.smoothed_cross_entropy(logits, labels, alpha=0.1, weights=none),
            penalties.confidence(logits, weights=none),
            penalties.consistency(jnp.stack([logits] * 2), weights=none),
        )
    )()
    assert values == (0, 0, 0)
