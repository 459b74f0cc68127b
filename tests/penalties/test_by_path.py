"""The contribution of each leaf to a penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import normal
from jaxdrop import penalties

PARAMS = {
    "dense": {"kernel": normal(7, 5), "bias": normal(5, seed=1)},
    "norm": {"scale": normal(6, seed=2)},
}


def test_by_path_adds_penalties_that_select_different_leaves():
    """One of the two selects nothing where the other one has a value."""
    both = lambda tree: penalties.l2(tree) + penalties.group_lasso(tree)
    parts, whole = jax.jit(lambda tree: (penalties.by_path(both, tree), both(tree)))(
        PARAMS
    )
    np.testing.assert_allclose(sum(parts.values()), whole, rtol=1e-6)
    bias = np.asarray(PARAMS["dense"]["bias"])
    np.testing.assert_allclose(parts["dense/bias"], (bias**2).sum(), rtol=1e-6)


def test_leaves_that_are_not_selected_contribute_nothing():
    lasso = penalties.group_lasso
    parts, whole = jax.jit(lambda tree: (penalties.by_path(lasso, tree), lasso(tree)))(
        PARAMS
    )
    assert parts["dense/bias"] == parts["norm/scale"] == 0
    assert parts["dense/kernel"] == whole > 0


def test_counters_and_keys_have_no_part():
    state = {**PARAMS, "step": jnp.int32(3), "key": jax.random.key(0)}
    parts = jax.eval_shape(lambda: penalties.by_path(penalties.l1, state))
    assert parts.keys() == {"dense/kernel", "dense/bias", "norm/scale"}


def test_a_penalty_that_selects_nothing_at_all_raises():
    """Although it may select nothing in the tree of one leaf."""
    with pytest.raises(ValueError, match="group_lasso"):
        penalties.by_path(penalties.group_lasso, {"bias": jnp.ones(3)})
    with pytest.raises(ValueError, match="group_lasso"):  # nor is that allowed later
        penalties.group_lasso({"bias": jnp.ones(3)})


def test_a_penalty_is_a_function():
    with pytest.raises(TypeError, match="by_path: penalty must be"):
        penalties.by_path(0.1, PARAMS)
