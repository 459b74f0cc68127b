"""Mixtures of examples: shares, partners, and labels that follow the data."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs.cases import N
from scipy import stats

from chance import assert_distribution, assert_uniform_counts
from jaxdrop import inputs
from jaxdrop.inputs._mixing import partners, symmetric_beta


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 4.0, 50.0])
def test_shares_come_from_beta(key, alpha):
    draw = jax.jit(lambda a: symmetric_beta(key, (40_000,), alpha=a))
    shares = np.asarray(draw(alpha), np.float64)
    beta = stats.beta(alpha, alpha)
    edges = beta.ppf(np.linspace(0, 1, 21))
    assert_uniform_counts(np.histogram(shares, bins=edges)[0])
    # Near 0 a float32 tells shares apart, near 1 it cannot.
    low = shares[shares < 0.5]
    assert_distribution(low, lambda x: 2 * beta.cdf(x))


def test_shares_of_every_strength_are_shares(key):
    for alpha in (0.0, 1e-6, 1e-3, 1e3, 1e6):
        shares = symmetric_beta(key, (1000,), alpha=jnp.float32(alpha))
        assert ((shares >= 0) & (shares <= 1)).all()
    assert (symmetric_beta(key, (1000,), alpha=jnp.float32(0)) == 1).all()


def test_partners_are_a_uniform_permutation(key):
    keys = jax.random.split(key, 6000)
    drawn = np.asarray(jax.vmap(lambda k: partners(k, 3))(keys))
    assert (np.sort(drawn, axis=1) == np.arange(3)).all()
    assert_uniform_counts(np.unique(drawn, axis=0, return_counts=True)[1])
    assert len(np.unique(drawn, axis=0)) == 6


@pytest.mark.parametrize("function", [inputs.mixup, inputs.cutmix])
def test_deterministic_and_zero_return_the_very_labels(function, key):
    x, labels = jnp.ones((N, 4, 4, 1)), jnp.eye(N)
    for knobs in ({"alpha": 1.0, "deterministic": True}, {"alpha": 0}):
        same_x, same_labels = function(None, x, labels, **knobs)
        assert same_x is x and same_labels is labels
    flagged = jax.jit(lambda f: function(key, x, labels, alpha=1.0, deterministic=f))
    chex.assert_trees_all_equal(flagged(True), (x, labels))
    assert (flagged(False)[1] != labels).any()


@pytest.mark.parametrize("function", [inputs.mixup, inputs.cutmix])
def test_labels_that_cannot_be_mixed_are_refused(function, key):
    x = jnp.ones((N, 4, 4, 1))
    with pytest.raises(TypeError, match=r"got int32; use jax.nn.one_hot"):
        function(key, x, jnp.arange(N), alpha=1.0)
    with pytest.raises(ValueError, match="must have the same batch size"):
        function(key, x, jnp.eye(N - 1), alpha=1.0)


def test_a_batch_of_one_is_mixed_with_itself(key):
    x, labels = jnp.full((1, 4, 4, 1), 3.0), jnp.ones((1, 2))
    for function in (inputs.mixup, inputs.cutmix):
        y, mixed = function(key, x, labels, alpha=1.0)
        np.testing.assert_allclose(y, x, rtol=1e-6)
        np.testing.assert_allclose(mixed, labels, rtol=1e-6)


@pytest.mark.parametrize("alpha", [-0.5, np.nan])
def test_a_traced_alpha_out_of_range_gives_nan(alpha, key):
    x = jnp.ones((4, 6, 6, 3))
    targets = jnp.eye(4)
    for mix in (inputs.mixup, inputs.cutmix):
        run = jax.jit(lambda alpha, mix=mix: mix(key, x, targets, alpha=alpha))
        for part in run(jnp.float32(alpha)):
            assert np.isnan(part).all()
