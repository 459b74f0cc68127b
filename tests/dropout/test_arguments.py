"""Arguments at their ends: what is realized, refused by name, or poisoned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop import masks


@pytest.mark.parametrize("rate", [0.997, 0.9999, 1 - 1e-6, 1 - 1e-8, 1 - 1e-9, 1])
def test_little_that_is_kept_is_divided_by_what_is_realised(rate):
    for given in (rate, jnp.float32(rate)):
        keep = masks.keep_probability(given)
        kept = int(np.ceil(np.float32(keep) * 2.0**23))
        assert float(keep) == kept / 2**23
        words = jnp.asarray(np.array([max(kept - 1, 0), kept], np.uint32) << 9)
        survive = masks.survives(words, keep=keep)
        np.testing.assert_array_equal(survive, [kept > 0, False])


def test_what_cannot_be_meant_is_named(key):
    with pytest.raises(TypeError, match=r"exact: num_dropped must be an integer.*3\.0"):
        masks.exact(key, (4,), num_dropped=3.0)
    for shape in (4, "ab", (2.0, 3), (2, True)):
        with pytest.raises(TypeError, match="bernoulli: shape must"):
            masks.bernoulli(key, shape, rate=0.5)
    with pytest.raises(TypeError, match="exact: shape must"):
        masks.exact(key, 4, num_dropped=1)
    with pytest.raises(TypeError, match="blocks: shape must"):
        masks.blocks(key, 4, rate=0.5)
    with pytest.raises(ValueError, match="shape must not be negative"):
        masks.bernoulli(key, (-1,), rate=0.5)
    with pytest.raises(ValueError, match="must have the same structure"):
        jaxdrop.mixout(key, jnp.ones(3), {"a": jnp.ones(3)}, rate=0.5)


@pytest.mark.parametrize(
    "drop",
    [jaxdrop.spatial_dropout, jaxdrop.feature_alpha_dropout, jaxdrop.drop_block],
)
@pytest.mark.parametrize("shape", [(4, 8, 3), (2, 3, 8, 8, 3)])
def test_axes_that_may_be_time_or_space_must_be_said(drop, shape, key):
    with pytest.raises(ValueError, match="pass num_spatial_dims=1 for"):
        drop(key, jnp.ones(shape), rate=0.5)
    sequences = drop(key, jnp.ones((64, 8, 1)), rate=0.5, num_spatial_dims=1)
    assert len(np.unique(np.asarray(sequences), axis=0)) > 1  # not one for the batch


def test_functions_without_a_rate_do_not_recommend_one():
    x = jnp.ones((3, 3))
    for call in (
        lambda: jaxdrop.concrete_dropout(None, x, 0.0),
        lambda: jaxdrop.hard_concrete(None, x),
        lambda: jaxdrop.variational_dense(None, x, x, x),
        lambda: jaxdrop.shake_shake(None, x, x),
    ):
        with pytest.raises(ValueError, match="deterministic=True") as error:
            call()
        assert "rate of 0" not in str(error.value)


def test_traced_parameters_that_are_refused_as_numbers_give_nan(key):
    x = jnp.ones((3, 3))
    soft = jax.jit(lambda t: jaxdrop.concrete_dropout(key, x, 0.0, temperature=t))
    for temperature in (0.0, -1.0, np.nan):
        assert np.isnan(soft(temperature)).all()
    dense, share = jaxdrop.variational_dense, jaxdrop.variational_sparsity
    pruned = jax.jit(lambda t: dense(None, x, x, x, threshold=t, deterministic=True))
    assert np.isnan(pruned(np.nan)).all()
    assert np.isnan(jax.jit(lambda t: share(x, x, threshold=t))(np.nan))


@pytest.mark.parametrize("indices", [False, True])
def test_tokens_alone_go_through_a_sequence_of_layers(indices, key):
    nnx = pytest.importorskip("flax.nnx")
    drop = jaxdrop.nnx.TokenDropout(0.5, return_indices=indices, rngs=nnx.Rngs(0))
    x = jnp.ones((2, 6, 3))
    if indices:
        assert drop(x)[1].shape == (2, 3)
        return
    head = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    assert nnx.Sequential(drop, head)(x).shape == (2, 3, 4)


HEADS = jnp.ones((2, 5, 3, 4))
AT_RATE_ONE = {
    "drop_head": lambda key: jaxdrop.drop_head(key, HEADS, rate=1),
    "zoneout": lambda key: jaxdrop.zoneout(key, HEADS, 2 * HEADS, rate=1),
    "layer_drop": lambda key: jaxdrop.layer_drop(key, 3, rate=1),
    "dot_product_attention": lambda key: jaxdrop.dot_product_attention(
        key, HEADS, HEADS, HEADS, rate=1
    ),
}


@pytest.mark.parametrize("name", AT_RATE_ONE)
def test_where_everything_is_dropped_no_key_is_needed(name):
    without, given = (AT_RATE_ONE[name](key) for key in (None, jax.random.key(3)))
    np.testing.assert_array_equal(without, given)


@pytest.mark.parametrize("integer", [np.int64, np.array, jnp.int32])
def test_integers_of_any_library_are_integers(integer, key):
    equal = np.testing.assert_array_equal
    images = np.ones((2, 6, 6, 4), np.float32)
    for drop in (jaxdrop.spatial_dropout, jaxdrop.drop_block, jaxdrop.inputs.cutout):
        knobs = {"size": 3} if drop is jaxdrop.inputs.cutout else {"rate": 0.5}
        run = lambda dims, d=drop, k=knobs: d(key, images, num_spatial_dims=dims, **k)
        equal(run(integer(2)), run(2))
        with pytest.raises(ValueError, match="num_spatial_dims must be 1, 2 or 3"):
            run(integer(4))
    cut = lambda size: jaxdrop.inputs.cutout(key, images, size=size)
    equal(cut(np.array([3, 2])), cut((3, 2)))
    heads = np.ones((1, 6, 2, 4), np.float32)
    attend = lambda **knobs: jaxdrop.dot_product_attention(
        key, heads, heads, heads, rate=0.5, **knobs
    )
    equal(attend(local_window_size=integer(2)), attend(local_window_size=2))
    sides = np.array([1, 2]) if integer is not jnp.int32 else jnp.array([1, 2])
    equal(attend(local_window_size=sides), attend(local_window_size=(1, 2)))
    np.testing.assert_allclose(attend(block_size=integer(2)), attend(), atol=1e-6)
    weights = jaxdrop.drop_key(key, (integer(2), integer(3)), rate=0.5)
    equal(weights, jaxdrop.drop_key(key, (2, 3), rate=0.5))
