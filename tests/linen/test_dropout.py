"""In the place of Flax Linen's Dropout: its masks, and the behaviour its tests ask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors, linen
from modules.like_flax import (
    arguments,
    assert_like_flax,
    for_every_dtype,
    for_every_rate,
)

import jaxdrop
from chance import assert_frequency, assert_uncorrelated


@for_every_rate
@for_every_dtype
def test_linen_draws_the_masks_of_flax(rate, dtype, key):
    x = jax.random.normal(jax.random.key(0), (96, 64)).astype(dtype)
    ours, theirs = (
        module(rate, deterministic=False).apply({}, x, rngs={"dropout": key})
        for module in (jaxdrop.linen.Dropout, linen.Dropout)
    )
    assert_like_flax(ours, theirs)


class Net(linen.Module):
    """Two sites inside submodules, so that keys are folded with paths."""

    drop: type

    @linen.compact
    def __call__(self, x):
        """Drops twice."""
        x = self.drop(0.3, deterministic=False)(x)
        return self.drop(0.3, deterministic=False)(jnp.sin(x))


def test_sites_in_a_linen_model_draw_the_masks_of_flax(key):
    x = jnp.ones((20, 30))
    ours, theirs = (
        Net(drop).apply({}, x, rngs={"dropout": key})
        for drop in (jaxdrop.linen.Dropout, linen.Dropout)
    )
    assert_like_flax(ours, theirs)


def test_linen_takes_the_arguments_of_flax_in_their_order():
    ours, theirs = arguments(jaxdrop.linen.Dropout), arguments(linen.Dropout)
    assert list(ours.items()) == list(theirs.items())
    ours = arguments(jaxdrop.linen.Dropout.__call__)
    theirs = arguments(linen.Dropout.__call__)
    assert list(ours)[2:4] == list(theirs)[2:4] == ["deterministic", "rng"]


# Flax's own tests of Linen's Dropout, in our words.


def test_linen_two_keys_draw_two_masks_and_evaluation_none():
    x = jnp.ones((20, 20))
    module = jaxdrop.linen.Dropout(0.5)
    draws = [
        module.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(i)})
        for i in (1, 2)
    ]
    assert (draws[0] != draws[1]).any()
    for i in (1, 2):
        y = module.apply({}, x, deterministic=True, rngs={"dropout": jax.random.key(i)})
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("rate", [0.1 * i for i in range(1, 10)])
def test_linen_keeps_the_rate_it_says(rate):
    module = jaxdrop.linen.Dropout(rate, deterministic=False)
    kept = [
        module.apply({}, jnp.ones((100, 100)), rng=jax.random.key(i)) != 0
        for i in range(10)
    ]
    assert_frequency(np.stack(kept), 1 - rate)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_linen_limits_of_the_rate(rate, key):
    x = jnp.ones((20, 20))
    module = jaxdrop.linen.Dropout(rate, deterministic=False)
    run = lambda x: module.apply({}, x, rngs={"dropout": key})
    np.testing.assert_array_equal(run(x), x * (1 - rate))
    assert np.isfinite(jax.grad(lambda x: run(x).sum())(x)).all()


@pytest.mark.parametrize("ndim, axes", [(1, (0,)), (2, (0,)), (3, (0, 2)), (4, (1, 3))])
def test_linen_shares_draws_along_axes(ndim, axes, key):
    x = jnp.ones((6,) * ndim)
    module = jaxdrop.linen.Dropout(0.5, broadcast_dims=axes, deterministic=False)
    sums = np.asarray(module.apply({}, x, rng=key).sum(axes))
    assert np.isin(sums, [0, 2 * 6 ** len(axes)]).all()


def test_linen_manual_key_and_missing_keys(key):
    x = jnp.ones((20, 20))
    module = jaxdrop.linen.Dropout(0.5, deterministic=False)
    np.testing.assert_array_equal(
        module.apply({}, x, rng=key), module.clone().apply({}, x, rng=key)
    )
    with pytest.raises(errors.InvalidRngError, match="dropout"):
        module.apply({}, x)
    with pytest.raises(ValueError, match="deterministic"):
        jaxdrop.linen.Dropout(0.5).apply({}, x)
    with pytest.raises(ValueError, match="deterministic"):
        module.apply({}, x, deterministic=True)
    noise = jaxdrop.linen.Dropout(0.5, (), False, "noise")
    assert (noise.apply({}, x, rngs={"noise": key}) != x).any()


def test_linen_initialises_without_keys_of_its_own_in_evaluation(key):
    x = jnp.ones((4, 30))
    for module in (
        jaxdrop.linen.Dropout(0.5, deterministic=True),
        jaxdrop.linen.DropConnectDense(3, 0.5, deterministic=True),
    ):
        assert module.init(key, x) is not None
    training = jaxdrop.linen.Dropout(0.5, deterministic=False)
    y, _ = training.init_with_output(key, x)  # Flax falls back to "params"
    assert (y == 0).any() and (y != 0).any()


def test_linen_draws_anew_where_a_module_is_called_twice(key):
    class Twice(linen.Module):
        @linen.compact
        def __call__(self, x):
            """Runs it."""
            drop = jaxdrop.linen.Dropout(0.5, deterministic=False)
            return drop(x), drop(x)

    first, second = Twice().apply({}, jnp.ones(200), rngs={"dropout": key})
    assert_uncorrelated(first != 0, second != 0)


def test_linen_lifted_transforms_split_keys_or_share_them(key):
    x = jnp.ones((4, 30))
    for split in (True, False):
        mapped = linen.vmap(
            jaxdrop.linen.Dropout,
            variable_axes={"params": None},
            split_rngs={"dropout": split},
        )(0.5, deterministic=False)
        rows = mapped.apply({}, x, rngs={"dropout": key})
        assert bool((rows == rows[0][None]).all()) is not split
    remat = linen.remat(jaxdrop.linen.Dropout)(0.5, deterministic=False)
    plain = jaxdrop.linen.Dropout(0.5, deterministic=False)
    loss = lambda m: lambda x: (m.apply({}, x, rngs={"dropout": key}) ** 2).sum()
    np.testing.assert_array_equal(jax.grad(loss(remat))(x), jax.grad(loss(plain))(x))
