"""The share of weights that sparse variational dropout prunes."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import normal


@pytest.mark.slow
def test_the_share_of_three_billion_weights_that_are_pruned():
    leaf = jnp.zeros(2**25)
    tree = dict.fromkeys(map(str, range(90)), leaf)
    assert jaxdrop.variational_sparsity(tree, tree) == 1


@pytest.mark.parametrize("threshold", [-1.0, 0.5, 3.0])
def test_weights_whose_noise_reaches_the_threshold_are_counted(threshold):
    mean, log_variance = normal(30, 20), 4 * normal(30, 20, seed=1)
    alpha = np.asarray(log_variance) - 2 * np.log(np.abs(np.asarray(mean)))
    share = jaxdrop.variational_sparsity(mean, log_variance, threshold=threshold)
    np.testing.assert_allclose(share, (alpha >= threshold).mean(), rtol=1e-6)
    halves = [{"a": x[:10], "b": (x[10:],)} for x in (mean, log_variance)]
    assert jaxdrop.variational_sparsity(*halves, threshold=threshold) == share


def test_a_weight_without_noise_of_its_own_is_refused():
    with pytest.raises(
        ValueError, match=r"must have the same shape, got \(3,\) and \(2,\)"
    ):
        jaxdrop.variational_sparsity(jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match="mean and log_variance must have the same st"):
        jaxdrop.variational_sparsity({"a": jnp.ones(3)}, {"b": jnp.ones(3)})
