"""Penalties of activations: means over examples and over what is no padding."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from chance import normal
from jaxdrop import penalties
from jaxdrop.penalties._of_activities import _count


@pytest.mark.parametrize(
    "penalty, power", [(penalties.activity_l1, 1), (penalties.activity_l2, 2)]
)
def test_activities_add_up_within_and_average_over_examples(penalty, power):
    x = normal(6, 4, 3)
    each = (np.abs(np.asarray(x, np.float64)) ** power).sum(axis=(1, 2))

    @jax.jit
    def found(x):
        means = (
            penalty(x),
            penalty(jnp.moveaxis(x, 0, 1), batch_axis=1),
            penalty({"a": x, "b": (x,)}, coefficient=0.5),
        )
        return means, jax.vmap(lambda one: penalty(one, batch_axis=None))(x)

    means, one_by_one = found(x)
    np.testing.assert_allclose(means, each.mean(), rtol=1e-6)
    np.testing.assert_allclose(one_by_one, each, rtol=1e-6)


@pytest.mark.parametrize("penalty", [penalties.activity_l1, penalties.activity_l2])
def test_activities_of_nothing_cost_nothing(penalty):
    for x in (jnp.zeros((0, 3)), jnp.zeros((3, 0))):
        assert at_once(penalty)(x) == 0
    for x in ({}, None, {"ids": jnp.arange(3)}):
        assert penalty(x, allow_empty=True) == 0
        with pytest.raises(ValueError, match=r"^activity_l\d: there is nothing"):
            penalty(x)
    zeros = jnp.zeros((4, 3), jnp.bfloat16)
    value, gradient = jax.jit(jax.value_and_grad(penalty))(zeros)
    assert value == 0 and value.dtype == jnp.float32
    chex.assert_trees_all_equal(gradient, zeros)
    with pytest.raises(ValueError, match="batch_axis: axis 1 is out of bounds"):
        penalty(jnp.ones(3), batch_axis=1)


def test_low_precision_activities_neither_overflow_nor_get_stuck():
    ones = jnp.ones((2, 500_000), jnp.float16)
    assert penalties.activity_l1(ones) == 500_000
    assert penalties.activity_l2(ones * 2) == 2_000_000


def test_temporal_is_the_published_sum_of_two_means():
    hidden, dropped = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    h, d = (np.asarray(x, np.float64) for x in (hidden, dropped))
    expected = 2.0 * (d**2).mean() + 0.5 * (np.diff(h, axis=1) ** 2).mean()

    @jax.jit
    def found(*states):
        swapped = (x.swapaxes(0, 1) for x in states)
        first = penalties.temporal(*swapped, beta=0.5, time_axis=0)
        both = penalties.temporal(*states, alpha=2.0, beta=0.5)
        return both, first, penalties.temporal(states[0])

    *values, alone = found(hidden, dropped)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(
        alone, 2 * (h**2).mean() + (np.diff(h, axis=1) ** 2).mean(), rtol=1e-6
    )


def test_padding_counts_in_no_mean_and_may_be_nan():
    hidden = normal(1, 4, 3)
    padding = jnp.full((1, 2, 3), jnp.nan)
    padded = jnp.concatenate([padding, hidden, padding], axis=1)
    step = jnp.arange(8)[None]
    penalty = lambda x: penalties.temporal(x, mask=(step >= 2) & (step < 6))
    value, gradient = jax.jit(jax.value_and_grad(penalty))(padded)
    expected, inner = jax.jit(jax.value_and_grad(penalties.temporal))(hidden)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, 2:6], inner, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(gradient[:, :2], jnp.zeros((1, 2, 3)))
    np.testing.assert_array_equal(gradient[:, 6:], jnp.zeros((1, 2, 3)))


@pytest.mark.parametrize("length", [0, 1])
def test_short_sequences_do_not_change(length):
    hidden = jnp.full((2, length, 3), 2.0)
    value, gradient = jax.jit(jax.value_and_grad(penalties.temporal))(hidden)
    assert value == (8.0 if length else 0.0)
    chex.assert_tree_all_finite(gradient)


def test_temporal_coefficients_may_be_traced_and_are_checked():
    hidden = jnp.arange(4.0)[None, :, None]
    value = jax.jit(lambda a: penalties.temporal(hidden, alpha=a, beta=a))(
        jnp.float32(2)
    )
    np.testing.assert_allclose(value, 2 * 3.5 + 2 * 1.0)
    with pytest.raises(ValueError, match="temporal: beta must be finite"):
        penalties.temporal(hidden, beta=-1.0)
    with pytest.raises(ValueError, match="time_axis must not be the last axis"):
        penalties.temporal(hidden, time_axis=-1)
    with pytest.raises(ValueError, match="do not agree"):
        penalties.temporal(hidden, mask=jnp.ones((1, 4, 1), bool))


def test_more_entries_are_counted_than_int32_holds():
    real = jnp.ones((1000, 1000, 1), bool).at[0].set(False)
    count = jax.jit(lambda real: _count(real, 3000, jnp.float32))(real)
    np.testing.assert_allclose(count, 999 * 1000 * 3000, rtol=1e-6)


@pytest.mark.slow
def test_the_mean_of_two_billion_entries():
    """None of them is held: XLA fuses the constant into the sums."""
    hidden = lambda one: jnp.broadcast_to(one, (2**17, 16, 1024))
    value = jax.jit(lambda one: penalties.temporal(hidden(one)))(jnp.bfloat16(1))
    np.testing.assert_allclose(value, 2.0, rtol=1e-5)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_traced_coefficients_out_of_range_give_nan(bad):
    x = jnp.ones((2, 3, 4))
    for penalize in (
        lambda c: penalties.temporal(x, alpha=c),
        lambda c: penalties.temporal(x, beta=c),
        lambda c: penalties.activity_l1(x, coefficient=c),
        lambda c: penalties.activity_l2(x, coefficient=c),
    ):
        assert np.isnan(jax.jit(penalize)(jnp.float32(bad)))
        with pytest.raises(ValueError, match="must be finite and at least 0"):
            penalize(bad)
