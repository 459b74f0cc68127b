"""DropHead: whole heads, each example its own, and the rest makes up for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency, assert_mean

X = np.random.default_rng(0).normal(size=(6, 5, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("head_axis", [-2, -3, -1])
def test_drops_whole_heads_and_rescales_by_the_share_left(key, head_axis):
    x = np.moveaxis(X, 2, head_axis)
    y = np.asarray(jaxdrop.drop_head(key, x, rate=0.5, head_axis=head_axis))
    y = np.moveaxis(y, head_axis, 2)
    kept = (y != 0).all(axis=(1, 3))
    assert (kept == (y != 0).any(axis=(1, 3))).all()
    assert not (kept == kept[:1]).all()  # examples lose different heads
    scale = 8 / kept.sum(axis=1)
    expected = X * (kept * scale[:, None])[:, None, :, None]
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_each_head_is_dropped_with_the_rate_and_the_mean_is_exact(key):
    y = np.asarray(jaxdrop.drop_head(key, np.ones((20000, 1, 8, 1)), rate=0.3))[
        :, 0, :, 0
    ]
    assert_frequency(y == 0, 0.3 - 0.3**8 / 8)  # one survives where all would go
    assert_mean(y, 1.0)
    np.testing.assert_allclose(y.mean(axis=1), 1, rtol=1e-6)


def test_a_head_survives_in_every_example(key):
    y = np.asarray(jaxdrop.drop_head(key, np.ones((3000, 1, 3, 1)), rate=0.97))
    survivors = (y != 0).sum(axis=2).ravel()
    assert survivors.min() == 1
    np.testing.assert_allclose(y.max(axis=2).ravel(), 3 / survivors)


def test_at_rate_one_nothing_is_left(key):
    drop = lambda x: jaxdrop.drop_head(key, x, rate=1.0)
    y, pull = jax.vjp(drop, jax.device_put(X))
    assert not y.any() and not pull(jnp.ones_like(y))[0].any()


def test_nothing_is_drawn_where_nothing_is_dropped():
    x = jax.device_put(X)
    assert jaxdrop.drop_head(None, x, rate=0) is x
    assert jaxdrop.drop_head(None, x, rate=0.5, deterministic=True) is x


def test_a_traced_rate_compiles_once_and_is_nan_where_it_is_no_probability(key):
    run = jax.jit(lambda rate: jaxdrop.drop_head(key, X, rate=rate))
    np.testing.assert_array_equal(run(jnp.float32(0)), X)
    static = jaxdrop.drop_head(key, X, rate=0.5)
    np.testing.assert_array_equal(run(jnp.float32(0.5)), static)
    assert not run(jnp.float32(1)).any()
    for rate in (np.nan, -0.5, 1.5):
        assert jnp.isnan(run(jnp.float32(rate))).all()
    assert run._cache_size() == 1


def test_an_example_alone_under_vmap_loses_heads_as_in_a_batch(key):
    keys = jax.random.split(key, 6)
    drop = lambda key, x: jaxdrop.drop_head(key, x, rate=0.5)
    rows = [drop(*pair) for pair in zip(keys, X, strict=True)]
    np.testing.assert_array_equal(jax.vmap(drop)(keys, X), rows)
    assert ((rows[0] != 0).any(axis=(0, 2)) == (rows[0] != 0).all(axis=(0, 2))).all()


def test_a_dropped_nan_is_gone_and_the_dtype_stays(key):
    x = jnp.ones((1, 4, 8, 2), jnp.bfloat16)
    dropped = (jaxdrop.drop_head(key, x, rate=0.5) == 0).all(axis=(1, 3))
    y = jaxdrop.drop_head(
        key, jnp.where(dropped[:, None, :, None], jnp.nan, x), rate=0.5
    )
    assert y.dtype == jnp.bfloat16 and jnp.isfinite(y).all()


def test_without_heads_there_is_nothing_to_drop(key):
    x = jnp.ones((2, 3, 0, 4))
    assert jaxdrop.drop_head(key, x, rate=0.5).shape == x.shape


@pytest.mark.parametrize(
    "axis, shape", [(-4, (2, 3, 4, 5)), (0, (2, 3, 4, 5)), (-2, (4, 5))]
)
def test_rejects_an_axis_that_is_none_of_the_last_three(key, axis, shape):
    with pytest.raises(ValueError, match="one of the last three axes"):
        jaxdrop.drop_head(key, jnp.ones(shape), rate=0.5, head_axis=axis)


def test_says_that_a_key_is_missing():
    with pytest.raises(ValueError, match="drop_head: key must be a PRNG key"):
        jaxdrop.drop_head(None, X, rate=0.5)
