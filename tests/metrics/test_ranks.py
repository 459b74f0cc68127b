"""Ranks with ties, and the weight below each value, against counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop.metrics import _ranks

CASES = {
    "apart": [0.3, -1.0, 2.0, 0.1],
    "tied": [1.0, 0.0, 1.0, 1.0, 0.0, 2.0],
    "equal": [5.0, 5.0, 5.0],
    "alone": [7.0],
    "infinite": [np.inf, 0.0, -np.inf, np.inf],
    "both zeros": [0.0, -0.0, 1.0],
}


@pytest.mark.parametrize("case", CASES)
def test_ranks_count_the_smaller_values(case):
    values = np.array(CASES[case], np.float32)
    found = _ranks.rank(jnp.asarray(values))
    below = (values[None] < values[:, None]).sum(1)
    through = (values[None] <= values[:, None]).sum(1)
    np.testing.assert_array_equal(found.first, below)
    np.testing.assert_array_equal(found.last, through)
    np.testing.assert_array_equal(values[found.order], np.sort(values))


@pytest.mark.parametrize("case", CASES)
def test_weights_below_are_sums_over_smaller_values(case):
    values = np.array(CASES[case], np.float32)
    weights = np.random.default_rng(0).integers(0, 5, values.size).astype(np.float32)
    found = _ranks.rank(jnp.asarray(values)).weight_below(jnp.asarray(weights))
    smaller = values[None] < values[:, None]
    equal = values[None] == values[:, None]
    np.testing.assert_array_equal(found[0], smaller @ weights)
    np.testing.assert_array_equal(found[1], (smaller | equal) @ weights)


def test_a_symbolic_number_of_values_is_ranked():
    (number,) = jax.export.symbolic_shape("n")
    shape = jax.ShapeDtypeStruct((number,), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: _ranks.rank(x)[1:]))(shape)
    first, last = exported.call(jnp.float32([2, 1, 2]))
    assert first.tolist() == [1, 0, 1] and last.tolist() == [3, 1, 3]
