"""Addresses: one base key, and a key for every site, step, example and shard."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from jaxdrop import keys
from jaxdrop._paths import path_hash

x = jnp.ones((8, 64))
drop = functools.partial(jaxdrop.dropout, rate=0.5)


def words(key) -> tuple[int, ...]:
    data = key if key.dtype == jnp.uint32 else jax.random.key_data(key)
    return tuple(np.asarray(data).tolist())


def test_every_part_of_an_address_counts(key):
    addresses = [
        keys.site(key, name, index=index, step=step)
        for name in ("a", "b", "a/b")
        for index in (None, 0, 1, 2)
        for step in (None, 0, 1, 2)
    ]
    assert len({words(address) for address in addresses}) == len(addresses)
    assert words(keys.site(key, "a")) == words(keys.site(key, "a"))
    assert words(key) not in {words(address) for address in addresses}


def test_names_are_hashed_alike_in_every_process():
    """A change of these words changes every mask of every user of names."""
    made = keys.site(jax.random.key(0), "encoder/3/attention", index=1, step=2)
    assert words(made) == (2308911557, 599180848)


def test_sites_stay_when_others_come_and_go(key):
    def model(names):
        return {name: drop(keys.site(key, name, step=3), x) for name in names}

    few, many = model(["in", "out"]), model(["in", "new", "out", "other"])
    for name, y in few.items():
        np.testing.assert_array_equal(many[name], y)


def test_index_and_step_may_be_traced_and_masks_differ_in_one_program(key):
    traces = []

    @jax.jit
    def step(key, t):
        traces.append(t)
        layers = lambda _, i: (None, drop(keys.site(key, "block", index=i, step=t), x))
        return jax.lax.scan(layers, None, jnp.arange(3))[1]

    drawn = jnp.concatenate([step(key, t) for t in range(10)])
    assert len(np.unique(np.asarray(drawn), axis=0)) == 30
    assert len(traces) == 1
    one = drop(keys.site(key, "block", index=2, step=9), x)
    np.testing.assert_array_equal(drawn[29], one)


@pytest.mark.parametrize("number", [3, np.uint8(3), jnp.int32(3)], ids=repr)
def test_a_step_may_be_a_variable_of_flax(key, number):
    own = words(keys.site(key, "a", step=3))
    assert words(keys.site(key, "a", step=nnx.Variable(number))) == own
    at = jax.jit(lambda count: keys.site(key, "a", step=nnx.Variable(count)))
    assert words(at(number)) == own
    with pytest.raises(ValueError, match=r"step must be at least 0, got"):
        keys.site(key, "a", step=nnx.Variable(-1))


def test_raw_keys_stay_raw_and_draw_alike():
    typed, raw = jax.random.key(5), jax.random.PRNGKey(5)
    for make in (
        lambda key: keys.site(key, "a", index=1, step=2),
        lambda key: keys.example(key, jnp.arange(6).reshape(2, 3)),
    ):
        assert make(raw).dtype == jnp.uint32
        np.testing.assert_array_equal(jax.random.key_data(make(typed)), make(raw))
    assert keys.example(typed, jnp.arange(6).reshape(2, 3)).shape == (2, 3)


def test_the_mask_of_an_example_goes_where_it_goes(key):
    ids = np.array([5, 3, 2**31 + 1, 8, 1, 0, 4, 7])
    each = jax.vmap(drop)
    whole = each(keys.example(key, ids), x)
    order = np.array([3, 1, 0, 7, 5, 2, 6, 4])
    np.testing.assert_array_equal(
        each(keys.example(key, ids[order]), x[order]), whole[order]
    )
    halves = [each(keys.example(key, ids[i : i + 4]), x[:4]) for i in (0, 4)]
    np.testing.assert_array_equal(jnp.concatenate(halves), whole)
    accumulate = lambda _, part: (None, each(keys.example(key, part), x[:2]))
    parts = jax.lax.scan(accumulate, None, ids.reshape(4, 2))[1]
    np.testing.assert_array_equal(parts.reshape(whole.shape), whole)
    assert len(np.unique(np.asarray(whole), axis=0)) == 8


@pytest.fixture
def mesh():
    return jax.make_mesh((4, 2), ("data", "model"))


def spread(local, mesh, out=("data", "model")):
    return jax.jit(
        jax.shard_map(
            local, mesh=mesh, in_specs=(P(), P()), out_specs=P(*out), check_vma=False
        )
    )


def test_data_shards_draw_apart_and_tensor_shards_alike(key, mesh):
    def local(key, x):
        return drop(keys.shard(key, ("data",)), x)[None, None]

    drawn = np.asarray(spread(local, mesh)(key, x))
    assert drawn.shape == (4, 2, 8, 64)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    assert len(np.unique(drawn[:, 0].reshape(4, -1), axis=0)) == 4
    both = lambda key, x: drop(keys.shard(key, ("model", "data")), x)[None, None]
    drawn = np.asarray(spread(both, mesh)(key, x)).reshape(8, -1)
    assert len(np.unique(drawn, axis=0)) == 8
    naive = np.asarray(spread(lambda key, x: drop(key, x)[None, None], mesh)(key, x))
    assert len(np.unique(naive.reshape(8, -1), axis=0)) == 1  # why shard exists


def test_the_order_of_axis_names_does_not_matter(key, mesh):
    make = lambda names: spread(
        lambda key, x: drop(keys.shard(key, names), x)[None, None], mesh
    )
    np.testing.assert_array_equal(
        make(("data", "model"))(key, x), make(("model", "data"))(key, x)
    )


KINDS = {
    "typed": jax.random.key,
    "raw": jax.random.PRNGKey,
    "fused": lambda seed: jaxdrop.prng.fuse(jax.random.key(seed)),
}


@pytest.mark.parametrize("manual", [{"data", "model"}, {"data"}], ids=len)
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_keys_of_every_kind_are_sharded_alike_and_stay_of_it(make, manual, mesh):
    """Also where an axis is left to the compiler, along which features are spread."""

    def local(key, x):
        own = keys.shard(key, "data")
        assert own.dtype == key.dtype
        return drop(own, x)

    run = jax.jit(
        jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(P(), P("data")),
            out_specs=P("data"),
            axis_names=manual,
        )
    )
    spec = P("data") if "model" in manual else P("data", "model")
    y = run(make(3), jax.device_put(x, NamedSharding(mesh, spec)))
    first = jax.random.fold_in(jax.random.key(3), path_hash("data"))
    for shard, part in enumerate(y.reshape(4, 2, 64)):
        np.testing.assert_array_equal(
            part, drop(jax.random.fold_in(first, shard), x[:2])
        )


def test_an_axis_that_the_compiler_spreads_is_no_axis_of_shards(key):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    local = lambda key, x: drop(keys.shard(key, "model"), x)
    run = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P("data"),
        axis_names={"data"},
    )
    spread_x = jax.device_put(x, NamedSharding(mesh, P("data")))
    with pytest.raises(ValueError, match="no mesh axis 'model' is mapped here"):
        jax.jit(run)(key, spread_x)


def test_each_shard_can_draw_its_part_of_the_global_mask(key, mesh):
    """The recipe: bits at the positions that a shard holds, and one threshold."""

    def local(key, x):
        rows = x.shape[0]
        first = jax.lax.axis_index("data") * rows
        row = (first + jnp.arange(rows))[:, None]
        position = row * x.shape[1] + jnp.arange(x.shape[1])[None]
        bits = jaxdrop.prng.bits_at(key, position.astype(jnp.uint32))
        mask = jaxdrop.masks.survives(bits, keep=0.5)
        return jaxdrop.masks.apply(x, mask, keep=0.5)

    run = jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
    )
    spread_x = jax.device_put(x, NamedSharding(mesh, P("data")))
    np.testing.assert_array_equal(run(key, spread_x), drop(key, x))


def test_what_is_wrong_is_named(key):
    with pytest.raises(TypeError, match="name must be a string"):
        keys.site(key, 3)
    with pytest.raises(ValueError, match="name must not be empty"):
        keys.site(key, "")
    with pytest.raises(TypeError, match=r"step must be integers, got 0\.5"):
        keys.site(key, "a", step=0.5)
    with pytest.raises(ValueError, match="index must be a scalar"):
        keys.site(key, "a", index=jnp.arange(3))
    with pytest.raises(TypeError, match="ids must be integers"):
        keys.example(key, jnp.ones(3))
    with pytest.raises(ValueError, match=r"ids must be below 2\*\*32"):
        keys.example(key, [1, 2**32])
    with pytest.raises(ValueError, match="key must be one key"):
        keys.site(jax.random.split(key), "a")
    with pytest.raises(ValueError, match="no mesh axis 'data' is mapped here"):
        keys.shard(key, "data")
    with pytest.raises(ValueError, match="names an axis twice"):
        keys.shard(key, ("data", "data"))


def test_an_address_is_no_reuse_of_its_base_key():
    with jax.debug_key_reuse(True):
        key = jax.random.key(3)
        for step in range(3):
            drop(keys.site(key, "a", step=step), x)


def test_a_number_gives_one_key_whatever_its_dtype(key):
    def words(step):
        return tuple(jax.random.key_data(keys.site(key, "a", step=step)).tolist())

    narrow = {step: words(step) for step in (0, 5, 2**32 - 1)}
    narrow |= {step: words(jnp.int32(step)) for step in (-1, -(2**31))}
    with jax.enable_x64(True):
        for step, expected in narrow.items():
            assert words(jnp.asarray(step, jnp.int64)) == expected
        far = [words(jnp.asarray(step, jnp.int64)) for step in (2**32 + 5, 2**33 + 5)]
        ids = jnp.array([5, 2**32 + 5], jnp.int64)
        near, distant = jax.random.key_data(keys.example(key, ids)).tolist()
    assert len({*far, narrow[5]}) == 3
    assert near != distant
    np.testing.assert_array_equal(
        near, jax.random.key_data(keys.example(key, jnp.array([5])))[0]
    )
    with pytest.raises(ValueError, match=r"ids must be at least -2\*\*31"):
        keys.example(key, [-(2**31) - 1])


@pytest.mark.parametrize("number", [-1, np.int64(-1), np.int8(-3), [-1], -(2**70)])
@pytest.mark.parametrize("name", ["index", "step"])
def test_a_site_has_no_negative_index_or_step(key, name, number):
    with pytest.raises(ValueError, match=f"site: {name} must be at least"):
        keys.site(key, "a", **{name: number})


def test_names_with_one_hash_are_found_by_an_audit(key):
    def model(key, x):
        return jnp.tanh(drop(keys.site(key, "buckeroo"), step(key, x)))

    def step(key, x):
        return drop(keys.site(key, "plumless"), x)

    assert words(keys.site(key, "plumless")) == words(keys.site(key, "buckeroo"))
    assert jaxdrop.diagnostics.audit(model, key, x).kinds == {"same key"}


def test_names_of_axes_are_text():
    with pytest.raises(TypeError, match="axis_names must be the name of a mesh axis"):
        keys.shard(jax.random.key(0), 3)
