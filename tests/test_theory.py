"""Two exact statements of Srivastava et al. (2014), to ten digits.

They tie the library to the theory of dropout: what it does to a linear regression, and
what the network without masks stands for.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import jaxdrop
from chance import assert_mean
from jaxdrop import penalties


def every_mask(rate, n):
    """All masks of n units, True is kept, with their probabilities."""
    masks = np.array(list(itertools.product([False, True], repeat=n)))
    kept = masks.sum(axis=1)
    return masks, (1 - rate) ** kept * rate ** (n - kept)


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 5)) @ rng.normal(size=(5, 5))
    return x, rng.normal(size=7), rng.normal(size=5)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_dropout_on_the_inputs_of_a_regression_is_a_ridge(regression, rate):
    """E|y - D(X) w|**2 = |y - X w|**2 + rate / (1 - rate) * |G w|**2 (section 9.1).

    G is the diagonal matrix of the norms of the columns of X, masks are divided by the
    keep probability, and each entry of X has its own. The expectation of each row is
    taken over all of its masks, applied by the library.
    """
    x, y, w = regression
    masks, probability = every_mask(rate, 5)
    with jax.enable_x64(True):
        apply = jax.vmap(
            lambda mask: jaxdrop.masks.apply(jnp.asarray(x), mask[None], keep=1 - rate)
        )
        dropped = np.asarray(apply(jnp.asarray(masks)))
        lengths = np.linalg.norm(x, axis=0)
        ridge = penalties.l2(jnp.asarray(lengths * w), coefficient=rate / (1 - rate))
    expected_loss = (probability[:, None] * (y - dropped @ w) ** 2).sum()
    closed_form = ((y - x @ w) ** 2).sum() + float(ridge)
    np.testing.assert_allclose(expected_loss, closed_form, rtol=1e-10)


def test_the_minimum_under_dropout_is_the_ridge_regression(regression):
    """The gradient of the expected loss vanishes at the solution of the ridge."""
    x, y, _ = regression
    rate = 0.5
    masks, probability = every_mask(rate, 5)
    scatter = x.T @ x
    ridge = scatter + rate / (1 - rate) * np.diag(np.diag(scatter))
    with jax.enable_x64(True):
        targets, weights = jnp.asarray(y), jnp.asarray(probability)[:, None]
        apply = jax.vmap(
            lambda mask: jaxdrop.masks.apply(jnp.asarray(x), mask[None], keep=1 - rate)
        )
        dropped = apply(jnp.asarray(masks))
        loss = lambda w: jnp.sum(weights * (targets[None] - dropped @ w) ** 2)
        solution = jnp.asarray(np.linalg.solve(ridge, x.T @ y))
        gradient, elsewhere = jax.grad(loss)(solution), jax.grad(loss)(solution + 0.1)
    np.testing.assert_allclose(gradient, np.zeros(5), atol=1e-10)
    assert np.abs(elsewhere).min() > 1e-2


def test_random_masks_have_the_loss_of_the_ridge(regression, key):
    x, y, w = regression
    rate = 0.3
    ridge = rate / (1 - rate) * ((np.linalg.norm(x, axis=0) * w) ** 2).sum()
    expected = ((y - x @ w) ** 2).sum() + ridge
    data, targets, weights = (jnp.asarray(a, jnp.float32) for a in (x, y, w))

    def loss(k):
        residual = targets - jaxdrop.dropout(k, data, rate=rate) @ weights
        return jnp.sum(residual**2)

    losses = jax.jit(jax.vmap(loss))(jax.random.split(key, 20_000))
    assert_mean(losses, expected)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_weight_scaling_is_the_geometric_mean_of_all_sub_networks(rate):
    """Exact for one softmax layer: an ensemble of 2**n networks in a single pass.

    The geometric mean of the predictions of all masked networks, each weighted by the
    probability of its mask and together normalized to add up to one, is the prediction
    of the network without masks.
    """
    rng = np.random.default_rng(1)
    n, num_classes = 9, 4
    x, kernel = rng.normal(size=n), rng.normal(size=(n, num_classes))
    bias = rng.normal(size=num_classes)
    masks, probability = every_mask(rate, n)
    with jax.enable_x64(True):
        apply = jax.vmap(
            lambda mask: jaxdrop.masks.apply(jnp.asarray(x), mask, keep=1 - rate)
        )
        dropped = np.asarray(apply(jnp.asarray(masks)))
        whole = np.asarray(
            jaxdrop.dropout(None, jnp.asarray(x), rate=rate, deterministic=True)
        )
    members = log_softmax(dropped @ kernel + bias, axis=-1)
    geometric = softmax((probability[:, None] * members).sum(axis=0))
    single = softmax(whole @ kernel + bias)
    np.testing.assert_allclose(geometric, single, rtol=1e-10)
    arithmetic = (probability[:, None] * np.exp(members)).sum(axis=0)
    assert np.abs(arithmetic - single).max() > 1e-3  # another ensemble altogether
