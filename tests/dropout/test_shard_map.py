"""Masks under shard_map with its defaults, checkify, and compilers of accelerators."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
from chance import normal
from family import RELATIVES, ROWS, for_the_family
from jaxdrop._sites import traits_of

SHARDS = 2


@pytest.fixture
def over():
    """Maps a function over shards; JAX checks what varies between them."""
    mesh = jax.make_mesh((SHARDS,), ("data",), axis_types=(AxisType.Auto,))

    def mapped(f, *specs):
        program = jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=P("data"))
        return jax.jit(program)

    return mapped


def inputs(row):
    return normal(SHARDS, *row.shape)


@for_the_family
def test_keys_rates_and_modes_may_differ_between_shards(row, over, key):
    keys = jax.random.split(key, SHARDS)
    rates, modes = np.float32([0.3, 0.6]), np.array([False, True])
    local = lambda k, x, r, d: row(k[0], x[0], r[0], d[0])[None]
    x = np.asarray(inputs(row))
    y, run = (
        np.asarray(over(local, *[P("data")] * 4)(keys, x, rates, modes)),
        jax.jit(row),
    )
    for i in range(SHARDS):
        alone = np.asarray(run(keys[i], x[i], rates[i], modes[i]))
        np.testing.assert_array_equal(y[i] == 0, alone == 0)
        np.testing.assert_allclose(y[i], alone, rtol=1e-6, atol=1e-6)


@for_the_family
@pytest.mark.parametrize("varies", ["key", "rate", "data"])
def test_one_of_them_may_differ_and_gradients_flow(row, varies, over, key):
    """The others are the same on all shards, which JAX tells apart by type."""
    spread, whole = P("data"), P()
    specs = [spread if varies == "key" else whole, spread]
    specs.append(spread if varies == "rate" else whole)
    keys, rates = jax.random.split(key, SHARDS), np.float32([0.3, 0.6])

    def local(k, x, r):
        drop = lambda x: jnp.sum(row(k[0], x, r[0]) ** 2)
        return jax.grad(drop)(x[0])[None]

    slopes = over(local, *specs)(keys, inputs(row), rates)
    assert slopes.shape == (SHARDS, *row.shape)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("name", [n for n in RELATIVES if "attention" not in n])
def test_relatives_take_the_key_of_a_shard(name, over, key):
    call = RELATIVES[name]
    if name.startswith("mc."):
        pytest.skip("maps over samples itself")
    x = normal(*call.shape)
    local = lambda k, x: jax.tree.leaves(call.function(k[0], x[0]))[0][None]
    keys = jax.random.split(key, SHARDS)
    y = over(local, P("data"), P("data"))(keys, np.stack([x] * SHARDS))
    assert y.shape[0] == SHARDS


def test_one_key_draws_for_the_ids_of_each_shard(over, key):
    ids = jnp.arange(8).reshape(SHARDS, 4)
    table = jaxdrop.dropout(key, jnp.ones((8, 5)), rate=0.5, broadcast_dims=(-1,))
    drop = functools.partial(jaxdrop.embedding_dropout, rate=0.5)
    y = over(drop, P(), P("data"), P("data"))(key, jnp.ones((SHARDS, 4, 5)), ids)
    np.testing.assert_array_equal(y, table[ids])


@for_the_family
def test_checkify_takes_a_batch_of_keys(row, key):
    x = np.ones(row.shape, np.float32)
    drop = jax.vmap(lambda k: row(k, x, 0.5))
    checked = checkify.checkify(drop, errors=checkify.user_checks)
    error, y = jax.jit(checked)(jax.random.split(key, 2))
    error.throw()
    assert y.shape == (2, *row.shape)


def lowered(f, platform, *args):
    return jax.export.export(jax.jit(f), platforms=(platform,))(*args).mlir_module()


@for_the_family
def test_a_cpu_holds_the_mask_whatever_its_size(row, key):
    x, traits = jnp.ones(row.shape), traits_of(f"jaxdrop.{row.function.__name__}")
    if "name=drawing" not in str(jax.make_jaxpr(row)(key, x, 0.5)):
        assert traits.draws == "noise" or traits.acts_on == "attention"
        pytest.skip("does not draw with _masks.draw or _masks.draw_at")
    text = lowered(row, "cpu", key, x, 0.5)
    assert 'inlineable = "false"' in text
    assert "optimization_barrier" not in text


@pytest.mark.parametrize("name", ["dropout", "gaussian_dropout", "zoneout"])
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_noise_is_fenced_on_tpus_alone(name, platform, key):
    row = ROWS[name]
    slope = jax.grad(lambda x, key: row(key, x, 0.5).sum())
    for f in (lambda x, key: row(key, x, 0.5), slope):
        text = lowered(f, platform, jnp.ones(row.shape), key)
        assert ("optimization_barrier" in text) == (platform == "tpu")
        assert "inlineable" not in text
