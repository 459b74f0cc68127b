"""What loops, works inside ``jax.shard_map`` with its defaults, as it does alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
from jaxdrop import acquisition, diagnostics, metrics, penalties

drop = lambda key, x: jaxdrop.dropout(key, x, rate=0.5)
PROGRAMS = {
    "temperature_scaling": lambda key, x: metrics.temperature_scaling(
        x, jnp.arange(8) % 3
    ),
    "spectral": lambda key, x: penalties.spectral({"kernel": x}, num_iterations=3),
    "jacobian": lambda key, x: penalties.jacobian(key, jnp.tanh, x, num_projections=2),
    "jacobian in full": lambda key, x: penalties.jacobian(
        None, jnp.tanh, x, num_projections=None
    ),
    "batch_bald": lambda key, x: acquisition.batch_bald(
        key, x.reshape(4, 2, 5), num_points=2, num_configurations=8
    ).gains.sum(),
    "weight_scaling_gap": lambda key, x: diagnostics.weight_scaling_gap(
        drop, lambda x: x, key, x, num_samples=4
    ).average.sum(),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("varies", ["key", "data"])
def test_keys_or_data_may_differ_between_shards(name, varies):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(jax.random.key(1), (2, 8, 5))
    specs = (P("data"), P()) if varies == "key" else (P(), P("data"))
    local = lambda k, x: PROGRAMS[name](k[0], x[0])[None]
    over = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P("data"))
    if name in ("temperature_scaling", "spectral", "jacobian in full"):
        specs = (P("data"), P("data"))  # no key is used
        over = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P("data"))
    found = jax.jit(over)(keys, x)
    for i in range(2):
        k = keys[i if specs[0] else 0]
        alone = jax.jit(PROGRAMS[name])(k, x[i if specs[1] else 0])
        np.testing.assert_allclose(found[i], alone, rtol=1e-5, atol=1e-6)
