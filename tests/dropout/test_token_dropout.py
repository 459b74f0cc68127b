"""What is particular to token dropout: fewer tokens, in order, with their indices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_uniform_counts, normal


def test_keeps_the_tokens_of_its_indices_in_order(key):
    x = np.asarray(normal(5, 12, 3))
    tokens, indices = map(np.asarray, jaxdrop.token_dropout(key, x, rate=0.4))
    assert tokens.shape == (5, 7, 3) and indices.shape == (5, 7)
    assert indices.dtype == jnp.int32
    assert (np.diff(indices, axis=1) > 0).all()
    for row in range(5):
        np.testing.assert_array_equal(tokens[row], x[row][indices[row]])


def test_prefix_tokens_stay_and_the_others_are_kept_alike(key):
    x = jnp.ones((3000, 2 + 10, 1))
    _, indices = jaxdrop.token_dropout(key, x, rate=0.5, num_prefix_tokens=2)
    assert indices.shape == (3000, 7)
    counts = np.bincount(np.asarray(indices).ravel(), minlength=12)
    assert (counts[:2] == 3000).all()
    assert_uniform_counts(counts[2:])
    assert len({tuple(row) for row in np.asarray(indices)}) > 200  # of 252 choices


def test_the_rate_is_of_the_patches_and_rounds_to_the_nearest_number(key):
    def kept(patches, rate, prefix=0):
        x = jax.ShapeDtypeStruct((prefix + patches, 1), jnp.float32)
        knobs = {"rate": rate, "num_prefix_tokens": prefix}
        drop = lambda key, x: jaxdrop.token_dropout(key, x, **knobs)
        return jax.eval_shape(drop, key, x)[1].size

    assert kept(10, 0.8) == 2  # int(10 * (1 - 0.8)) is 1 in floating point
    assert kept(7, 0.5) == 4
    assert kept(10, 0.99) == 1  # at least one
    assert kept(196, 0.25, prefix=1) == 148
    assert kept(4, 1.0, prefix=1) == 1  # only the prefix


def test_evaluation_returns_the_input_and_all_indices():
    x = jnp.ones((2, 3, 5, 4))
    for options in ({"rate": 0.5, "deterministic": True}, {"rate": 0.0}):
        tokens, indices = jaxdrop.token_dropout(None, x, **options)
        assert tokens is x
        np.testing.assert_array_equal(indices, np.broadcast_to(np.arange(5), (2, 3, 5)))


def test_axes_before_the_tokens_draw_and_axes_after_are_features(key):
    x = np.asarray(normal(6, 8, 2, 3))
    tokens, indices = jaxdrop.token_dropout(key, x, rate=0.5, token_axis=1)
    assert tokens.shape == (6, 4, 2, 3) and indices.shape == (6, 4)
    places = np.asarray(indices)[..., None, None]
    expected = np.take_along_axis(x, places, axis=1)
    np.testing.assert_array_equal(tokens, expected)
    alone, one = jaxdrop.token_dropout(key, x[0], rate=0.5, token_axis=0)
    first, indices = jaxdrop.token_dropout(key, x[:1], rate=0.5, token_axis=1)
    np.testing.assert_array_equal(alone, np.asarray(first)[0])
    np.testing.assert_array_equal(one, np.asarray(indices)[0])


def test_kept_tokens_pass_gradients_whole_and_dropped_ones_none(key):
    x = normal(2, 6, 3)
    _, indices = jaxdrop.token_dropout(key, x, rate=0.5)
    loss = lambda x: jaxdrop.token_dropout(key, x, rate=0.5)[0].sum()
    gradient = jax.jit(jax.grad(loss))(x)
    expected = np.zeros(x.shape, np.float32)
    np.put_along_axis(expected, np.asarray(indices)[..., None], 1.0, axis=1)
    np.testing.assert_array_equal(gradient, expected)


def test_rejects_what_is_no_count(key):
    with pytest.raises(ValueError, match=r"num_dropped must be in \[0, 7\], got 8"):
        jaxdrop.masks.exact(key, (4, 7), num_dropped=8)
    with pytest.raises(TypeError, match="num_dropped must be an integer"):
        jaxdrop.masks.exact(key, (4, 7), num_dropped=jnp.float32(2))
    with pytest.raises(ValueError, match=r"num_prefix_tokens must be in \[0, 5\]"):
        jaxdrop.token_dropout(key, jnp.ones((5, 1)), rate=0.5, num_prefix_tokens=6)
    for wrong in (1.0, "1", None, True):
        with pytest.raises(TypeError, match="num_prefix_tokens must be an integer"):
            jaxdrop.token_dropout(
                key, jnp.ones((5, 1)), rate=0.5, num_prefix_tokens=wrong
            )


def test_rejects_what_cannot_be_static(key):
    x = jnp.ones((5, 2))
    with pytest.raises(TypeError, match=r"jaxdrop\.dropout with broadcast_dims"):
        jaxdrop.token_dropout(key, x, rate=jnp.float32(0.5))
    with pytest.raises(TypeError, match="must be a Python bool"):
        jaxdrop.token_dropout(key, x, rate=0.5, deterministic=jnp.array(False))


def test_an_explicit_mesh_keeps_its_sharding_and_refuses_spread_tokens(key):
    explicit = (jax.sharding.AxisType.Explicit,)
    mesh = jax.make_mesh((4,), ("d",), axis_types=explicit)
    x = normal(8, 6, 4)
    plain = jaxdrop.token_dropout(key, x, rate=0.5, num_prefix_tokens=1)
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, jax.NamedSharding(mesh, jax.P("d")))
        tokens, indices = jaxdrop.token_dropout(
            key, spread, rate=0.5, num_prefix_tokens=1
        )
    assert jax.typeof(tokens).sharding.spec == jax.P("d", None, None)
    np.testing.assert_array_equal(tokens, plain[0])
    np.testing.assert_array_equal(indices, plain[1])
    with jax.set_mesh(mesh):
        lengthwise = jax.device_put(x[:, :4], jax.NamedSharding(mesh, jax.P(None, "d")))
        with pytest.raises(ValueError, match=r"token_axis 1 .* use jax\.shard_map"):
            jaxdrop.token_dropout(key, lengthwise, rate=0.5)
