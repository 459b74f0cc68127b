"""Inputs over devices: the numbers of one device, whatever axis is spread."""

import chex
import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from chance import normal
from family import RELATIVES

NOISE = {name: call for name, call in RELATIVES.items() if name.startswith("inputs.")}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("call", NOISE.values(), ids=NOISE.keys())
def test_a_batch_over_devices_is_that_of_one(call, kind, key):
    """Also where examples of different devices are mixed, as all of them may be."""
    x = normal(8, *call.shape[1:])
    run = jax.jit(call.function)
    expected = run(key, x)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, NamedSharding(mesh, P("data")))
        given = run(key, spread)
    chex.assert_trees_all_close(given, expected, rtol=1e-6, atol=1e-6)
    data = jax.tree.leaves(given)[0]
    if kind == AxisType.Explicit:
        assert data.sharding.is_equivalent_to(spread.sharding, data.ndim)


def per_shard(function, own_keys):
    """A call inside shard_map, with a key of its own for each shard or one for all."""

    def call(key, x):
        key = jax.random.fold_in(key, jax.lax.axis_index("data")) if own_keys else key
        return jax.tree.leaves(function(key, x))[0]

    return call


@pytest.mark.parametrize("own_keys", [False, True])
@pytest.mark.parametrize("call", NOISE.values(), ids=NOISE.keys())
def test_shard_map_runs_each_shard_as_a_call_alone(call, own_keys, key):
    """With its default checks, and arrays that are longer than any threshold."""
    shape = (8, *(8 * side for side in call.shape[1:3]), *call.shape[3:])
    x = normal(*shape)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    run = jax.shard_map(
        per_shard(call.function, own_keys),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P("data"),
    )
    given = jax.jit(run)(key, x)
    alone = jax.jit(call.function)
    for shard, part in enumerate(np.split(np.asarray(x), 2)):
        own = jax.random.fold_in(key, shard) if own_keys else key
        expected = jax.tree.leaves(alone(own, part))[0]
        chex.assert_trees_all_close(
            given[4 * shard : 4 * shard + 4], expected, rtol=1e-6, atol=1e-6
        )
