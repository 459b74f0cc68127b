"""One mask for any sharding: each device draws its share, and nothing is exchanged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from chance import normal
from family import ROWS, Row, for_the_family

COLLECTIVES = ("all-gather", "all-reduce", "collective-permute", "all-to-all")
P = PartitionSpec


def spread(x, shape, names, spec, kind):
    """``x`` on a mesh, and the mesh."""
    mesh = jax.make_mesh(shape, names, axis_types=(kind,) * len(names))
    with jax.set_mesh(mesh):
        return jax.device_put(x, NamedSharding(mesh, spec)), mesh


def both_passes(row):
    def step(key, x, rate):
        y, pull = jax.vjp(lambda x: row(key, x, rate), x)
        return y, pull(jnp.ones_like(y))[0]

    return step


def wide(row):
    """Data large enough that masks are held, also where an example has one draw.

    So the work of an entry outweighs that of a key, and no mask is drawn once for each
    pass on many devices and once for both on one.
    """
    shape = (4096, *row.shape[1:-1], 8 * row.shape[-1])
    return normal(*shape)


@functools.cache
def alone(row):
    """Both passes on one device: the program, and what it computes."""
    args = jax.random.key(1), wide(row), 0.4
    program = jax.jit(both_passes(row)).lower(*args).compile()
    return program, program(*args)


def collectives(program):
    text = program.as_text()
    return [name for name in COLLECTIVES if name in text]


def share_of_work(part, whole):
    """Of the floating point operations of a program, how many another does."""
    return part.cost_analysis()["flops"] / whole.cost_analysis()["flops"]


def assert_like_alone(given, expected):
    given, expected = np.asarray(given), np.asarray(expected)
    np.testing.assert_array_equal(given == 0, expected == 0)
    np.testing.assert_allclose(given, expected, rtol=3e-7, atol=1e-7)


@for_the_family
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_a_batch_over_devices_is_dropped_as_on_one_and_shared_fairly(row, kind):
    """The same result, an eighth of the work and of the memory, and no exchange.

    That a device computes the whole mask, or its part again for each pass, shows in its
    work alone, if at all: there is nothing to exchange, and the output is right.
    """
    whole, expected = alone(row)
    x, mesh = spread(wide(row), (8,), ("data",), P("data"), kind)
    with jax.set_mesh(mesh):
        args = jax.random.key(1), x, 0.4
        program = jax.jit(both_passes(row)).lower(*args).compile()
        outputs = program(*args)
    for y, one in zip(outputs, expected, strict=True):
        assert_like_alone(y, one)
    checked = outputs if kind == AxisType.Explicit else outputs[:1]
    assert all(y.sharding.is_equivalent_to(x.sharding, y.ndim) for y in checked)
    assert not collectives(program)
    assert share_of_work(program, whole) < 1.15 / 8
    memory, part = (p.memory_analysis().temp_size_in_bytes for p in (whole, program))
    # A whole mask has x.size; 1024 for the loop that splits a key.
    assert part < 1.05 * memory / 8 + x.size / 8 + 1024


@for_the_family
def test_a_batch_and_features_over_devices_are_dropped_as_on_one(row):
    """Axes of whatever role are spread: what is shared along them is still one draw."""
    _, (expected, _) = alone(row)
    axes = P("data", *[None] * (len(row.shape) - 2), "model")
    x, mesh = spread(wide(row), (4, 2), ("data", "model"), axes, AxisType.Explicit)
    with jax.set_mesh(mesh):
        program = jax.jit(row).lower(jax.random.key(1), x, 0.4).compile()
        y = program(jax.random.key(1), x, 0.4)
    assert_like_alone(y, expected)
    assert y.sharding.is_equivalent_to(x.sharding, y.ndim)
    assert not collectives(program)


MESHES = [((1,), P("a")), ((2,), P("a")), ((4,), P("a")), ((8,), P("a"))]
MESHES += [((4, 2), P("a", "b")), ((2, 4), P("b", "a")), ((8, 1), P(("a", "b")))]


@pytest.mark.parametrize("shape, spec", MESHES, ids=str)
def test_the_mask_does_not_know_the_mesh(shape, spec, key):
    x = jnp.ones((64, 96))
    drop = jax.jit(functools.partial(jaxdrop.dropout, rate=0.3))
    for kind in (AxisType.Auto, AxisType.Explicit):
        names = ("a", "b")[: len(shape)]
        spread_x, mesh = spread(x, shape, names, spec, kind)
        with jax.set_mesh(mesh):
            y = drop(key, spread_x)
        np.testing.assert_array_equal(y, drop(key, x))


ODD = ["dropout", "gaussian_dropout", "spatial_dropout", "locked_dropout"]
ODD += ["stochastic_depth", "embedding_dropout", "zoneout"]


@pytest.mark.parametrize(
    "draw",
    [
        functools.partial(jaxdrop.masks.bernoulli, rate=0.3, broadcast_dims=(1,)),
        functools.partial(jaxdrop.masks.exact, num_dropped=3, axis=0),
        jaxdrop.prng.uniform,
    ],
    ids=["bernoulli", "exact", "uniform"],
)
def test_a_mask_is_spread_by_a_name_as_by_a_sharding(draw, key):
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        by_name = draw(key, (8, 6), out_sharding=P("a"))
        by_sharding = draw(key, (8, 6), out_sharding=NamedSharding(mesh, P("a")))
        assert by_name.sharding.spec[0] == by_sharding.sharding.spec[0] == "a"
    np.testing.assert_array_equal(by_name, by_sharding)
    np.testing.assert_array_equal(by_name, draw(key, (8, 6)))


@pytest.mark.parametrize("name", ODD)
def test_sizes_that_devices_do_not_divide_are_padded_rightly(name, key):
    row = ROWS[name]
    x = normal(101, *row.shape[1:])
    mesh = jax.make_mesh((8,), ("a",), axis_types=(AxisType.Auto,))
    axes = P("a", *[None] * (len(row.shape) - 1))

    @jax.jit
    def drop(key, x):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, axes))
        return row(key, x, 0.3)

    assert_like_alone(drop(key, x), jax.jit(row)(key, x, 0.3))


SHARED = [
    ("dropout", {"broadcast_dims": (0,)}),
    ("gaussian_dropout", {"broadcast_dims": (0, 1)}),
    ("alpha_dropout", {"broadcast_dims": (0,)}),
    ("locked_dropout", {"time_axis": 0}),
    ("stochastic_depth", {"batch_axis": 1}),
]


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("name, knobs", SHARED, ids=[name for name, _ in SHARED])
def test_one_draw_may_be_shared_along_an_axis_that_is_spread(name, knobs, kind, key):
    drop = functools.partial(getattr(jaxdrop, name), rate=0.4, **knobs)
    x = normal(16, 6)
    spread_x, mesh = spread(x, (8,), ("data",), P("data"), kind)
    with jax.set_mesh(mesh):
        program = jax.jit(drop).lower(key, spread_x).compile()
        y = program(key, spread_x)
    assert_like_alone(y, drop(key, x))
    assert y.sharding.is_equivalent_to(spread_x.sharding, y.ndim)
    assert not collectives(program)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_devices_that_share_heads_do_not_ask_each_other_which_are_left(kind, key):
    """Each knows the fate of all heads, and so whether its own is the last."""
    row = Row(jaxdrop.drop_head, {}, (4, 3, 8, 2))
    x = normal(*row.shape)
    step = jax.jit(both_passes(row))
    spread_x, mesh = spread(x, (8,), ("model",), P(None, None, "model"), kind)
    with jax.set_mesh(mesh):
        program = step.lower(key, spread_x, 0.8).compile()
        outputs = program(key, spread_x, 0.8)
    for y, expected in zip(outputs, step(key, x, 0.8), strict=True):
        assert_like_alone(y, expected)
        assert y.sharding.is_equivalent_to(spread_x.sharding, y.ndim)
    assert not collectives(program)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("of_ids", [P(), P("data")], ids=str)
def test_a_device_hashes_the_ids_of_its_own_vectors_alone(of_ids, kind, key):
    x = normal(1024, 16, 4)
    ids = np.random.default_rng(0).integers(0, 100, x.shape[:-1], np.int32)
    drop = jax.jit(functools.partial(jaxdrop.embedding_dropout, rate=0.4))
    whole = drop.lower(key, x, ids).compile()
    spread_x, mesh = spread(x, (8,), ("data",), P("data"), kind)
    with jax.set_mesh(mesh):
        spread_ids = jax.device_put(ids, NamedSharding(mesh, of_ids))
        program = drop.lower(key, spread_x, spread_ids).compile()
        y = program(key, spread_x, spread_ids)
    np.testing.assert_array_equal(y, whole(key, x, ids))
    assert not collectives(program)
    assert share_of_work(program, whole) < 1.15 / 8


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_blocks_reach_over_the_borders_of_parts(kind, key):
    """Edges are exchanged, or, on explicit axes, whole maps are drawn instead.

    On a CPU seeds are drawn in a call of their own, for which parts may be gathered.
    """
    drop = jax.jit(functools.partial(jaxdrop.drop_block, rate=0.4, block_size=3))
    x = normal(2, 16, 5, 3)
    spread_x, mesh = spread(x, (8,), ("rows",), P(None, "rows"), kind)
    with jax.set_mesh(mesh):
        program = drop.lower(key, spread_x).compile()
        y = program(key, spread_x)
    assert_like_alone(y, drop(key, x))
    assert y.sharding.is_equivalent_to(spread_x.sharding, y.ndim)
    found = set(collectives(program))
    if kind == AxisType.Auto:
        assert "collective-permute" in found <= {"collective-permute", "all-gather"}
    else:
        assert not found


def test_data_parallel_training_is_that_of_one_device(key):
    """Twenty steps: the same masks, and losses equal up to the order of sums."""
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal(size=(64, 16)))
    target = np.float32(rng.normal(size=(64, 4)))
    weights = np.float32(rng.normal(size=(16, 4)) / 4)

    @jax.jit
    def step(weights, t, x, target):
        def loss(weights):
            hidden = jaxdrop.dropout(jaxdrop.keys.site(key, "in", step=t), x, rate=0.3)
            return ((hidden @ weights - target) ** 2).mean()

        value, slope = jax.value_and_grad(loss)(weights)
        return weights - 0.1 * slope, value

    def train(x, target):
        losses, current = [], weights
        for t in range(20):
            current, value = step(current, t, x, target)
            losses.append(value)
        return np.asarray(losses)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    put = lambda a: jax.device_put(a, NamedSharding(mesh, P("data")))
    np.testing.assert_allclose(train(put(x), put(target)), train(x, target), rtol=1e-5)


def test_inside_pmap_split_keys_draw_as_under_vmap(key):
    x, keys = jnp.ones((8, 6, 5)), jax.random.split(key, 8)
    drop = functools.partial(jaxdrop.dropout, rate=0.4)
    expected = jax.jit(jax.vmap(drop))(keys, x)
    np.testing.assert_array_equal(jax.pmap(drop)(keys, x), expected)


# Inside shard_map, where a device sees its own part alone.


@pytest.fixture
def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def test_a_layer_of_shards_is_one_layer_with_a_mask_for_each_data_shard(key, mesh):
    """Tensor shards hold one activation: its copies stay equal, or sums are wrong."""
    x, kernel = np.asarray(normal(16, 6)), np.asarray(normal(6, 8, seed=1))
    shard = lambda key: jaxdrop.keys.shard(key, "data")
    drop = functools.partial(jaxdrop.dropout, rate=0.4)

    def local(key, x, kernel):
        """Drops an input that tensor shards share, and multiplies by their columns."""
        return drop(shard(key), x) @ kernel

    run = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(P(), P("data"), P(None, "model")),
        out_specs=P("data", "model"),
    )
    # JAX itself proves that the mask does not vary along "model", or refuses this.
    masks = jax.shard_map(
        lambda key, x: drop(shard(key), jnp.ones_like(x)),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P("data"),
    )
    drawn = np.asarray(jax.jit(masks)(key, x))
    np.testing.assert_allclose(
        jax.jit(run)(key, x, kernel), (x * drawn) @ kernel, rtol=1e-4, atol=1e-5
    )
    parts = np.asarray(drawn).reshape(4, -1)
    assert len(np.unique(parts, axis=0)) == 4


def test_each_shard_reproduces_its_part_of_the_mask_that_jit_draws(key, mesh):
    """The recipe of docs/keys.md, in two dimensions: rows and columns are spread."""
    x = jnp.ones((16, 12))

    def local(key, x):
        rows, columns = (
            jax.lax.axis_index(axis) * size + jnp.arange(size)
            for axis, size in zip(("data", "model"), x.shape, strict=True)
        )
        width = x.shape[1] * jax.lax.axis_size("model")
        at = (rows[:, None] * width + columns[None]).astype(jnp.uint32)
        bits = jaxdrop.prng.bits_at(key, at)
        mask = jaxdrop.masks.survives(bits, keep=0.6)
        return jaxdrop.masks.apply(x, mask, keep=0.6)

    spec = P("data", "model")
    run = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(P(), spec), out_specs=spec))
    np.testing.assert_array_equal(run(key, x), jaxdrop.dropout(key, x, rate=0.4))
