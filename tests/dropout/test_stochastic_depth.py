"""What is particular to stochastic depth: whole examples, scaled or not."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from decisions import assert_shared


def test_a_branch_that_is_not_scaled_is_kept_as_it_is(key):
    x = jnp.cos(jnp.arange(400.0)).reshape(200, 2)
    y = jaxdrop.stochastic_depth(key, x, rate=0.3, scale=False)
    kept = np.asarray(jaxdrop.stochastic_depth(key, jnp.ones((200, 1)), rate=0.3) != 0)
    np.testing.assert_array_equal(y, np.where(kept, x, 0))


DECISIONS = {  # the shape of the data, one entry for each decision, and knobs
    "stochastic depth": ((2400, 3, 2), (2400, 1, 1), {}),
    "stochastic depth, second axis": ((3, 2400, 2), (1, 2400, 1), {"batch_axis": 1}),
    "stochastic depth of all": ((24, 3, 2), (1, 1, 1), {"batch_axis": None}),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_what_shares_a_decision_and_what_does_not(name, key):
    shape, decisions, knobs = DECISIONS[name]
    assert_shared(jaxdrop.stochastic_depth, key, shape, decisions, **knobs)
