"""What a mask selects, as a table."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jaxdrop import constraints, diagnostics

PARAMS = {
    "dense": {"kernel": jnp.ones((30, 40)), "bias": jnp.ones(40)},
    "norm": {"scale": jnp.ones(40)},
}
TABLE = """\
-  dense/bias    (40,)        40
x  dense/kernel  (30, 40)  1,200
-  norm/scale    (40,)        40
x selects 1,200 of 1,280 entries, 1 of 3 arrays"""


def test_the_table_lists_every_array_and_adds_up():
    assert diagnostics.describe_mask(PARAMS, constraints.decay_mask) == TABLE
    mask = constraints.decay_mask(PARAMS)
    assert diagnostics.describe_mask(PARAMS, mask) == TABLE


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda: PARAMS)
    assert diagnostics.describe_mask(shapes, constraints.decay_mask) == TABLE


def test_nnx_states_with_their_masks():
    state = nnx.State(jax.tree.map(nnx.Param, PARAMS))
    assert diagnostics.describe_mask(state, constraints.decay_mask(state)) == TABLE


def test_a_prefix_selects_whole_branches():
    table = diagnostics.describe_mask(PARAMS, {"dense": True, "norm": False})
    assert table.endswith("x selects 1,240 of 1,280 entries, 2 of 3 arrays")
    with pytest.raises(ValueError, match=r"structure|mismatch"):
        diagnostics.describe_mask(PARAMS, {"other": True})


def test_equinox_modules_are_no_mask_functions(key):
    model = eqx.nn.MLP(2, 3, 4, 1, key=key)
    mask = constraints.decay_mask(model)
    table = diagnostics.describe_mask(model, mask)
    assert table.endswith("x selects 20 of 27 entries, 2 of 4 arrays")


def test_nothing_is_described():
    assert (
        diagnostics.describe_mask({}, {}) == "x selects 0 of 0 entries, 0 of 0 arrays"
    )
