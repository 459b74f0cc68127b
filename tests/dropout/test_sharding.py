"""One mask for any sharding: each device draws its share, and nothing is exchanged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from family import for_the_family

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


@for_the_family
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_a_batch_over_devices_is_dropped_as_on_one(row, key, kind):
    x = jax.random.normal(key, (16, *row.shape[1:]))
    step = jax.jit(both_passes(row))
    alone = step(key, x, 0.4)
    spread_x, mesh = spread(x, (8,), ("data",), P("data"), kind)
    with jax.set_mesh(mesh):
        program = step.lower(key, spread_x, 0.4).compile()
        outputs = step(key, spread_x, 0.4)
    for y, expected in zip(outputs, alone, strict=True):
        np.testing.assert_array_equal(y == 0, expected == 0)
        np.testing.assert_allclose(y, expected, rtol=3e-7, atol=1e-7)
    checked = outputs if kind == AxisType.Explicit else outputs[:1]
    assert all(y.sharding.is_equivalent_to(spread_x.sharding, y.ndim) for y in checked)
    text = program.as_text()
    assert not [name for name in COLLECTIVES if name in text]


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


def test_sizes_that_devices_do_not_divide_are_padded_rightly(key):
    x = jnp.ones((1009, 5))
    mesh = jax.make_mesh((8,), ("a",), axis_types=(AxisType.Auto,))

    @jax.jit
    def drop(key, x):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P("a")))
        return jaxdrop.dropout(key, x, rate=0.3)

    np.testing.assert_array_equal(drop(key, x), jaxdrop.dropout(key, x, rate=0.3))


def test_data_parallel_training_is_that_of_one_device(key):
    """Twenty steps: the same masks, and losses equal up to the order of sums."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(64, 16)), jnp.float32)
    target = jnp.asarray(rng.normal(size=(64, 4)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(16, 4)) / 4, jnp.float32)

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
    np.testing.assert_array_equal(jax.pmap(drop)(keys, x), jax.vmap(drop)(keys, x))
