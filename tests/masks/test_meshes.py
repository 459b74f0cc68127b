"""Arrays of an explicit mesh in operations that need more of them."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdrop import metrics
from jaxdrop._masks import automatic, whole

X = np.arange(16, dtype=np.float32).reshape(4, 4)[::-1]


@pytest.fixture
def mesh():
    kinds = (AxisType.Explicit,) * 2
    return jax.make_mesh((2, 2), ("a", "b"), axis_types=kinds)


def spread(x, mesh, *spec):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))


@automatic
def smallest(x, number, *, weights, reverse=False):
    """Sorts along both axes, which no explicit mesh does where they are sharded."""
    order = jnp.sort((x * weights[None]).ravel(), descending=reverse)
    return order[:number]


@pytest.mark.parametrize("in_use", [True, False])
def test_the_compiler_spreads_what_an_explicit_mesh_does_not(mesh, in_use):
    x, weights = spread(X, mesh, "a", "b"), spread(X[0], mesh, "b")
    call = lambda x, weights: smallest(x, 3, weights=weights, reverse=True)
    expected = call(X, X[0])
    with jax.set_mesh(mesh) if in_use else contextlib.nullcontext():
        for function in (call, jax.jit(call)):
            found = function(x, weights)
            np.testing.assert_array_equal(found, expected)
            assert jax.typeof(found).sharding.spec == PartitionSpec(None)
            assert found.sharding.is_fully_replicated


def test_outputs_are_sharded_as_is_asked(mesh):
    wanted = NamedSharding(mesh, PartitionSpec("a"))
    ordered = automatic(lambda x: jnp.sort(x.ravel()), out_sharding=wanted)
    with jax.set_mesh(mesh):
        found = jax.jit(ordered)(spread(X, mesh, "a", "b"))
        assert jax.typeof(found).sharding.spec == PartitionSpec("a")
    np.testing.assert_array_equal(found, np.arange(16))


def test_gradients_are_spread_as_the_data(mesh):
    total = automatic(lambda x: (jnp.sort(x.ravel()) * jnp.arange(16.0)).sum())
    with jax.set_mesh(mesh):
        found = jax.jit(jax.grad(total))(spread(X, mesh, "a", "b"))
        assert jax.typeof(found).sharding.spec == PartitionSpec("a", "b")
    np.testing.assert_array_equal(found, X)


def test_examples_of_a_spread_batch_are_mapped(mesh):
    of_row = automatic(lambda row: jnp.sort(row)[0])
    with jax.set_mesh(mesh):
        found = jax.jit(jax.vmap(of_row))(spread(X, mesh, "a", "b"))
    np.testing.assert_array_equal(found, X.min(-1))


def test_a_part_of_a_mesh_stays_with_shard_map(mesh):
    of_half = automatic(lambda x: jnp.sort(x.ravel())[:2])
    along = PartitionSpec("a")
    mapped = jax.shard_map(of_half, in_specs=along, out_specs=along, axis_names={"a"})
    with jax.set_mesh(mesh):
        found = jax.jit(mapped)(spread(X, mesh, "a", "b"))
    np.testing.assert_array_equal(found, [8, 9, 0, 1])


def test_a_mesh_of_which_the_compiler_decides_and_host_numbers_change_nothing():
    function = lambda x: (type(x), x)
    kind, same = automatic(function)(X)
    assert kind is np.ndarray and same is X


def test_axes_are_made_whole_and_others_stay(mesh):
    x = spread(X, mesh, "a", "b")
    specs = [
        jax.typeof(whole(x, axes)).sharding.spec for axes in [(), (0,), (-1,), (0, 1)]
    ]
    assert specs == [
        PartitionSpec("a", "b"),
        PartitionSpec(None, "b"),
        PartitionSpec("a", None),
        PartitionSpec(None, None),
    ]
    assert whole(x, ()) is x and whole(X, (0,)) is X


def test_a_metric_of_a_spread_batch_has_gradients(mesh):
    labels = np.array([0, 3, 1, 2])
    loss = lambda logits: metrics.negative_log_likelihood(logits, labels)
    expected = jax.grad(loss)(jnp.asarray(X))
    with jax.set_mesh(mesh):
        found = jax.jit(jax.grad(loss))(spread(X, mesh, "a", "b"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
