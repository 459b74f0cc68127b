"""Programs that leave the process: exported with a key argument and any batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from family import ROWS

SYMBOLIC = ["dropout", "alpha_dropout", "spatial_dropout", "stochastic_depth"]


@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_symbolic_batch_round_trips(name, key):
    row = ROWS[name]
    rest = ", ".join(map(str, row.shape[1:]))
    shape = jax.export.symbolic_shape(f"b, {rest}")
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    drop = jax.jit(functools.partial(row.function, rate=0.4, **row.knobs))
    exported = jax.export.export(drop)(jax.eval_shape(lambda: key), x)
    restored = jax.export.deserialize(exported.serialize())
    for batch in (1, 7):
        data = jnp.ones((batch, *row.shape[1:]))
        np.testing.assert_array_equal(restored.call(key, data), drop(key, data))
