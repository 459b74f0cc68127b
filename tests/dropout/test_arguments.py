"""Arguments at their ends: what is realised, refused by name, or poisoned."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxdrop
from chance import assert_count
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


def test_the_mean_next_to_a_rate_of_one_is_the_input(key):
    assert masks.keep_probability(1 - 1e-9) == 2**-23
    y = jaxdrop.dropout(key, jnp.ones(2**24), rate=1 - 1e-6)
    assert_count(int((y != 0).sum()), 2**24, 9 / 2**23)
    assert float(y.max()) == np.float32(2**23 / 9)


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


def test_a_scalar_of_a_narrow_type_is_a_number(key):
    x = jnp.ones(64)
    narrow = jaxdrop.dropout(key, x, rate=ml_dtypes.bfloat16(0.25))
    np.testing.assert_array_equal(narrow, jaxdrop.dropout(key, x, rate=0.25))
    with pytest.raises(ValueError, match="rate is the probability"):
        jaxdrop.dropout(key, x, rate=ml_dtypes.bfloat16(1.5))


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


def test_ids_of_64_bits_do_not_wrap(key):
    with jax.enable_x64(True):
        ids = jnp.arange(64, dtype=jnp.int64)
        drop = lambda ids: jaxdrop.embedding_dropout(key, jnp.ones(64), ids, rate=0.5)
        low = drop(ids)
        np.testing.assert_array_equal(low, drop(ids.astype(jnp.int32)))
        assert (drop(ids + (1 << 32)) != low).any()


@pytest.mark.slow
def test_the_share_of_three_billion_weights_that_are_pruned():
    leaf = jnp.zeros(2**25)
    tree = dict.fromkeys(map(str, range(90)), leaf)
    assert jaxdrop.variational_sparsity(tree, tree) == 1


@pytest.mark.parametrize("layer", ["VariationalLinear", "VariationalConv"])
def test_half_precision_does_not_overflow_where_inputs_are_zeros(layer, key):
    nnx = pytest.importorskip("flax.nnx")
    sizes = (3, 4) if layer == "VariationalLinear" else (3, 4, (3,))
    module = getattr(jaxdrop.nnx, layer)(*sizes, dtype=jnp.float16, rngs=nnx.Rngs(0))
    x = jnp.zeros((1, 6, 3), jnp.float16)
    slopes = nnx.grad(lambda m: m(x, rngs=key).astype(jnp.float32).sum())(module)
    for slope in jax.tree.leaves(slopes):
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("room", [jaxdrop.nnx, jaxdrop.linen])
def test_the_second_moment_in_half_precision_is_finite(room):
    x = jnp.full((1, 8), 400, jnp.float16)
    knobs = {"dtype": jnp.float16, "activation": jax.nn.relu, "evaluation": "moments"}
    if room is jaxdrop.nnx:
        rngs = pytest.importorskip("flax.nnx").Rngs(0)
        y = room.DropConnectLinear(8, 4, 0.5, deterministic=True, rngs=rngs, **knobs)(x)
    else:
        layer = room.DropConnectDense(4, 0.5, deterministic=True, **knobs)
        y = layer.init_with_output(jax.random.key(0), x)[0]
    assert np.isfinite(y).all()


@pytest.mark.parametrize("shape", [(4, 6, 8), (4, 5, 6, 8)])
def test_kernels_of_their_own_for_examples_spread_over_a_mesh(shape):
    nnx = pytest.importorskip("flax.nnx")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sides = (3,) * (len(shape) - 2)
    for layer in (
        jaxdrop.nnx.DropConnectLinear(8, 4, 0.5, per_example=True, rngs=nnx.Rngs(0)),
        jaxdrop.nnx.DropConnectConv(
            8, 4, sides, 0.5, per_example=True, rngs=nnx.Rngs(0)
        ),
    ):
        key = jax.random.key(3)
        alone = layer(jnp.ones(shape), rngs=key)
        with jax.set_mesh(mesh):
            y = layer(jax.device_put(jnp.ones(shape), spread), rngs=key)
        np.testing.assert_allclose(y, alone, rtol=1e-5, atol=1e-6)


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
