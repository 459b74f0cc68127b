"""Keys of the light generator where keys are used: functions, NNX, Linen, others."""

import functools
import tempfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen, nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from jaxdrop import keys, prng

x = jnp.ones((64, 128))  # long enough to be drawn as in real use
drop = functools.partial(jaxdrop.dropout, rate=0.5)
same = np.testing.assert_array_equal


@pytest.fixture
def light(key):
    return prng.light(key)


def words(made):
    return np.asarray(jax.random.key_data(made))


def test_light_keys_split_and_fold_as_default_keys(key, light):
    assert jax.random.key_impl(light) == prng.light_hash
    same(words(light), words(key))
    for derive in (
        lambda k: jax.random.split(k, 3),
        lambda k: jax.random.fold_in(k, 9),
        lambda k: jax.random.clone(k),
        lambda k: keys.site(k, "a", index=1, step=2),
        lambda k: keys.example(k, np.arange(4)),
    ):
        derived = derive(light)
        assert jax.random.key_impl(derived) == prng.light_hash
        same(words(derived), words(derive(key)))
    same(words(jax.random.key(5, impl=prng.light_hash)), words(jax.random.key(5)))


def test_raw_fused_and_light_keys_and_arrays_of_them_are_converted(key, light):
    made = jax.random.split(key, 6).reshape(2, 3)
    raw = jax.random.key_data(made)
    for given in (made, raw, np.asarray(raw), prng.fuse(made), prng.light(made)):
        found = prng.light(given)
        assert (found.shape, found.dtype) == ((2, 3), light.dtype)
        same(words(found), words(made))
    assert prng.light(light) is light
    assert prng.fuse(light) is light
    same(jax.jit(lambda k: drop(prng.light(k), x))(key), drop(light, x))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_generators_are_hashed(impl):
    made = jax.random.split(jax.random.key(0, impl=impl), 64)
    found = prng.light(made)
    assert found.shape == (64,)
    assert len(np.unique(words(found), axis=0)) == 64
    same(words(found[3]), words(prng.light(made[3])))
    seeds = [words(prng.light(jax.random.key(s, impl=impl))).tolist() for s in (0, 1)]
    assert seeds[0] != seeds[1]
    assert [0, 0] not in seeds


def test_the_old_layout_of_threefry_converts_too(key, light):
    with jax.threefry_partitionable(False):
        same(drop(prng.light(key), x), drop(light, x))


@pytest.mark.parametrize("convert", [prng.light, prng.fuse])
def test_what_holds_no_keys_is_refused(convert):
    name = convert.__name__
    with pytest.raises(ValueError, match=f"{name}: keys? must be (a )?PRNG keys?"):
        convert(None)
    for wrong in (0, "key", [jax.random.key(0)], object()):
        with pytest.raises(TypeError, match=f"{name}: keys must be PRNG keys"):
            convert(wrong)
    for wrong in (jnp.ones(2), jnp.uint32(3), jnp.zeros((3, 3), jnp.uint32)):
        with pytest.raises(TypeError, match=rf"{name}: .*array of shape \("):
            convert(wrong)
    with pytest.raises(TypeError, match="keys must be"):
        convert({"dropout": 3})
    with pytest.raises(ValueError, match="Linear holds no keys"):
        convert(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))


def test_positions_are_checked(light):
    with pytest.raises(TypeError, match=r"high must be integers.*float32"):
        prng.bits_at(light, 3, high=jnp.ones(()))
    with pytest.raises(TypeError, match=r"counters must be integers below 2\*\*64"):
        prng.bits_at(light, 2**64)
    with pytest.raises(ValueError, match=r"counters must not be negative, got -1"):
        prng.bits_at(light, -1)
    with pytest.raises(ValueError, match=r"high must not be negative"):
        prng.bits_at(light, 0, high=-1)
    with pytest.raises(ValueError, match=r"high must be below 2\*\*32"):
        prng.bits_at(light, 0, high=2**32)
    with pytest.raises(ValueError, match=r"counters must be below 2\*\*32 where high"):
        prng.bits_at(light, 2**33, high=1)
    with pytest.raises(ValueError, match=r"high must be a scalar.*\(3,\); got \(2,\)"):
        prng.bits_at(light, np.arange(3), high=np.arange(2))


class Model(nnx.Module):
    """Our dropout, and Flax's, of one stream and of a stream of its own."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(128, 128, rngs=rngs)
        self.ours = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        self.theirs = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x, rngs=None):
        """Drops twice."""
        return self.theirs(self.ours(self.linear(x), rngs=rngs), rngs=rngs)


def test_an_nnx_model_draws_light_masks_and_keeps_its_own_keys():
    model = Model(nnx.Rngs(0, dropout=1))
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.RngKey))
    reference = prng.light(jax.random.fold_in(model.ours.rngs.key[...], 0))
    view = prng.light(model)
    same(view.ours(x), drop(reference, x))
    assert view.linear.kernel is model.linear.kernel
    assert int(model.ours.rngs.count[...]) == 1
    after = nnx.state(model, nnx.RngKey)
    jax.tree.map(lambda a, b: same(words(a), words(b)), before, after)
    assert "fry" in str(jax.tree.leaves(after)[0].dtype)


def test_one_line_in_a_training_step_of_nnx_and_a_checkpoint():
    model = Model(nnx.Rngs(0, dropout=1))

    @nnx.jit
    def step(model, x):
        def loss(model):
            return jnp.square(prng.light(model)(x)).mean()

        value, slope = nnx.value_and_grad(loss)(model)
        nnx.update(
            model, jax.tree.map(lambda p, g: p - g, nnx.state(model, nnx.Param), slope)
        )
        return value

    first, second = step(model, x), step(model, x)
    assert int(model.ours.rngs.count[...]) == int(model.theirs.rngs.count[...]) == 2
    other = Model(nnx.Rngs(5))
    with tempfile.TemporaryDirectory() as folder:
        with ocp.StandardCheckpointer() as saver:
            saver.save(f"{folder}/it", nnx.state(model))
        with ocp.StandardCheckpointer() as saver:
            nnx.update(other, saver.restore(f"{folder}/it", nnx.state(other)))
    same(step(other, x), step(model, x))
    assert first != second


def test_rngs_given_at_the_call_and_streams():
    model, rngs = Model(nnx.Rngs(0)), nnx.Rngs(dropout=3)
    given = prng.light(rngs)
    expected = [jax.random.fold_in(rngs.dropout.key[...], i) for i in range(2)]
    same(model.ours(x, rngs=given), drop(prng.light(expected[0]), x))
    same(model.ours(x, rngs=prng.light(rngs.dropout)), drop(prng.light(expected[1]), x))
    assert int(rngs.dropout.count[...]) == 2
    split = prng.light(rngs).split(4)
    assert split.dropout.key[...].shape == (4,)
    assert jax.random.key_impl(split.dropout.key[...]) == prng.light_hash


def test_shared_streams_stay_shared():
    stream = nnx.Rngs(0).dropout
    first, second = nnx.Dropout(0.5, rngs=stream), nnx.Dropout(0.5, rngs=stream)
    first.rngs = second.rngs
    view = prng.light(nnx.Sequential(first, second))
    assert view.layers[0].rngs is view.layers[1].rngs
    assert jax.random.key_impl(view.layers[0].rngs.key[...]) == prng.light_hash


def test_linen_draws_light_masks_in_ours_and_theirs(key, light):
    for layer in (linen.Dropout, jaxdrop.linen.Dropout):
        module = layer(0.5, deterministic=False)
        run = jax.jit(lambda rngs, m=module: m.apply({}, x, rngs=rngs))
        given = {"dropout": key, "noise": key}
        y = run(prng.light(given))
        same(y, run({"dropout": light}))
        assert (y != run(given)).any()
        same(module.apply({}, x, rng=light), drop(light, x))


def test_equinox_draws_light_masks(key, light):
    same(eqx.nn.Dropout(0.5)(x, key=light), drop(light, x))


@pytest.mark.parametrize("transform", ["jit", "grad", "remat", "scan", "vmap"])
def test_masks_are_the_same_under_transforms(transform, light):
    made = jax.random.split(light, 3)
    expected = [drop(k, x) for k in made]
    if transform == "scan":
        found = jax.jit(
            lambda made: jax.lax.scan(lambda _, k: (None, drop(k, x)), None, made)[1]
        )(made)
    elif transform == "vmap":
        found = jax.jit(jax.vmap(lambda k: drop(k, x)))(made)
    elif transform == "jit":
        found = [jax.jit(drop)(k, x) for k in made]
    else:
        wrap = jax.checkpoint if transform == "remat" else lambda f: f
        slope = jax.jit(jax.grad(lambda x, k: wrap(drop)(k, x).sum()))
        found = [slope(x, k) for k in made]
    for y, one in zip(found, expected, strict=True):
        same(y, one)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("sizes", [(8, 1), (4, 2), (2, 4)], ids=str)
def test_masks_do_not_depend_on_sharding_and_nothing_is_exchanged(kind, sizes, light):
    mesh = jax.make_mesh(sizes, ("data", "model"), axis_types=(kind,) * 2)
    wide = jnp.ones((64, 256))
    with jax.set_mesh(mesh):
        spread = jax.device_put(wide, NamedSharding(mesh, P("data", "model")))
        program = jax.jit(drop).lower(light, spread).compile()
        same(program(light, spread), drop(light, wide))
    for exchange in ("all-gather", "all-reduce", "collective-permute", "all-to-all"):
        assert exchange not in program.as_text()


def test_sizes_that_devices_do_not_divide(light):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    odd = jnp.ones((1009, 17))
    run = jax.jit(
        lambda k, x: drop(
            k, jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P("data")))
        )
    )
    same(run(light, odd), drop(light, odd))


def test_shards_draw_apart_by_keys_of_shards_in_shard_map(light):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    local = lambda k, x: drop(keys.shard(k, "data"), x)
    run = jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
    )
    whole = jnp.ones((64, 1024))
    parts = np.asarray(run(light, whole)).reshape(8, -1)
    assert len(np.unique(parts, axis=0)) == 8
    first = jax.random.fold_in(light, jaxdrop._paths.path_hash("data"))
    same(parts[5], drop(jax.random.fold_in(first, 5), whole[:8]).ravel())


def test_dtype_and_x64_do_not_change_a_mask(light):
    kept = drop(light, x) != 0
    same(drop(light, x.astype(jnp.bfloat16)) != 0, kept)
    with jax.enable_x64(True):
        same(drop(light, x.astype(jnp.float64)) != 0, kept)
    for low, high in ((0.1, 0.3), (0.3, 0.8)):
        masks = [jaxdrop.masks.bernoulli(light, (64, 64), rate=r) for r in (low, high)]
        assert not (masks[1] & ~masks[0]).any()


def test_reuse_of_a_light_key_is_seen(light):
    with jax.debug_key_reuse(True):
        made = jax.random.clone(light)
        drop(made, x)
        with pytest.raises(jax.errors.KeyReuseError):
            drop(made, x)


def test_a_program_that_converts_inside_is_exported(key, light):
    run = jax.jit(lambda k, x: drop(prng.light(k), x))
    there = jax.export.deserialize(jax.export.export(run)(key, x).serialize())
    same(there.call(key, x), drop(light, x))


def test_streams_that_share_a_key_still_do():
    rngs = nnx.Rngs(dropout=0, noise=1)
    rngs.noise.key = rngs.dropout.key
    light = prng.light(rngs)
    assert light.noise.key is light.dropout.key
