"""Inputs over devices: the numbers of one device, whatever axis is spread."""

import chex
import jax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from family import RELATIVES

NOISE = {name: call for name, call in RELATIVES.items() if name.startswith("inputs.")}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("call", NOISE.values(), ids=NOISE.keys())
def test_a_batch_over_devices_is_that_of_one(call, kind, key):
    """Also where examples of different devices are mixed, as all of them may be."""
    x = jax.random.normal(key, (8, *call.shape[1:]))
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
