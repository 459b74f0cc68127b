"""What PyTorch and Keras document of constraints, penalties and losses, kept by ours.

The formulas are those of their documentation, in NumPy. Where one of the two packages
is installed, which the tests do not require, its own function is called as well.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special, stats

from at_once import at_once
from jaxdrop import constraints, mc, metrics, penalties

os.environ.setdefault("KERAS_BACKEND", "jax")
CLOSE = {"rtol": 2e-5, "atol": 1e-6}
EPSILON = 1e-7  # which Keras adds to norms
KERNELS = {  # of dense, convolutional and depthwise layers, and the axes of a unit
    "Dense": ((6, 5), (0,)),
    "Conv1D": ((3, 4, 5), (0, 1)),
    "Conv2D": ((3, 2, 4, 5), (0, 1, 2)),
}
of_layers = pytest.mark.parametrize("layer", KERNELS)


def weights(layer, *, seed=0):
    """A kernel with units inside and outside the unit ball, and one of zeros."""
    shape, axes = KERNELS[layer]
    drawn = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return drawn * np.float32([0, 0.1, 1, 1, 3]), axes


def constrained(constraint, kernel, name="kernel"):
    params = {name: jnp.asarray(kernel)}
    zeros = {name: jnp.asarray(np.zeros_like(kernel))}

    @jax.jit
    def step(params):
        updates, _ = constraint.update(zeros, constraint.init(params), params)
        return optax.apply_updates(params, updates)

    return np.asarray(step(params)[name])


@of_layers
def test_max_norm_is_that_of_keras(layer):
    kernel, axes = weights(layer)
    norms = np.sqrt(np.square(kernel).sum(axes, keepdims=True))
    expected = kernel * np.clip(norms, 0, 1.5) / (EPSILON + norms)
    found = constrained(constraints.max_norm(1.5), kernel)
    np.testing.assert_allclose(found, expected, **CLOSE)
    given = constrained(constraints.max_norm(1.5, axis=axes), kernel)
    np.testing.assert_array_equal(given, found)


@of_layers
def test_unit_norm_is_that_of_keras(layer):
    kernel, axes = weights(layer)
    norms = np.sqrt(np.square(kernel).sum(axes, keepdims=True))
    found = constrained(constraints.unit_norm(), kernel)
    np.testing.assert_allclose(found, kernel / (EPSILON + norms), **CLOSE)


def test_the_rows_of_an_embedding_are_renormed_as_in_pytorch():
    table = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    expected = np.where(norms > 1, table / norms, table)
    is_table = lambda path, leaf: path == "embedding"
    found = constrained(
        constraints.max_norm(1.0, axis=1, where=is_table), table, "embedding"
    )
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_soft_threshold_is_the_soft_shrinkage_of_pytorch():
    kernel = np.float32([[-2, -0.5, -0.25, 0, 0.25, 0.5, 2]])
    expected = np.float32([[-1.5, 0, 0, 0, 0, 0, 1.5]])
    found = constrained(constraints.soft_threshold(0.5), kernel)
    np.testing.assert_array_equal(found, expected)


@of_layers
def test_penalties_of_weights_are_the_regularizers_of_keras(layer):
    kernel, _ = weights(layer)
    sums = np.abs(kernel).sum(), np.square(kernel).sum()
    found = at_once(
        lambda: [
            penalties.l1(kernel, coefficient=0.01),
            penalties.l2(kernel, coefficient=0.02),
            penalties.elastic_net(kernel, l1=0.01, l2=0.02),
        ]
    )()
    parts = 0.01 * sums[0], 0.02 * sums[1]
    np.testing.assert_allclose(found, [*parts, sum(parts)], **CLOSE)


def test_penalties_of_activities_are_divided_by_the_batch_as_in_keras():
    x = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    found = at_once(lambda: (penalties.activity_l1(x), penalties.activity_l2(x)))()
    expected = np.abs(x).sum() / 4, np.square(x).sum() / 4
    np.testing.assert_allclose(found, expected, **CLOSE)


def examples():
    """Logits, two of which tie, labels of all classes, and weights with a 0."""
    logits = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    logits[0, 1:3] = 5
    return logits, np.arange(9) % 4, np.float32([1, 2, 0, 1, 3, 1, 1, 2, 1])


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_label_smoothing_is_that_of_pytorch_and_keras(alpha):
    logits, labels, share = examples()
    soft = np.eye(4)[labels] * (1 - alpha) + alpha / 4
    losses = -(soft * special.log_softmax(np.float64(logits), -1)).sum(-1)
    loss = functools.partial(penalties.smoothed_cross_entropy, logits, labels)
    found = at_once(lambda: [loss(alpha=alpha, weights=w) for w in (None, share)])()
    expected = losses.mean(), np.average(losses, weights=share)
    np.testing.assert_allclose(found, expected, **CLOSE)


def one_normal(mean, variance, targets):
    """The log-density of one sample of a mixture."""
    reducer = mc.gaussian_mixture(targets=targets)

    @jax.jit
    def found(mean, variance):
        state = reducer.init((mean, variance))
        state = reducer.update(state, (mean[None], variance[None]), jnp.ones(1, bool))
        return reducer.finalize(state)["log_density"]

    return found(mean, variance)


def test_the_density_of_a_normal_is_the_loss_of_pytorch():
    mean, targets = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    variance = np.float32([0.01, 0.1, 1, 1, 4, 100])
    expected = stats.norm.logpdf(targets, mean, np.sqrt(variance))
    found = one_normal(jnp.asarray(mean), jnp.asarray(variance), targets)
    np.testing.assert_allclose(found, expected, **CLOSE)


@of_layers
def test_constraints_and_penalties_are_those_of_an_installed_keras(layer):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    kernel, axes = weights(layer)
    of_keras = keras.constraints
    for ours, theirs in (
        (constraints.max_norm(1.5), of_keras.MaxNorm(1.5, axis=axes)),
        (constraints.unit_norm(), of_keras.UnitNorm(axis=axes)),
        (constraints.max_norm(1.0), of_keras.MinMaxNorm(0.0, 1.0, axis=axes)),
    ):
        expected = np.asarray(theirs(jnp.asarray(kernel)))
        np.testing.assert_allclose(constrained(ours, kernel), expected, **CLOSE)
    expected = float(keras.regularizers.L1L2(0.01, 0.02)(jnp.asarray(kernel)))
    found = penalties.elastic_net(kernel, l1=0.01, l2=0.02)
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_losses_and_shrinkage_are_those_of_an_installed_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn.functional
    logits, labels, _ = examples()
    given = torch.tensor(logits), torch.tensor(labels)
    for alpha in (0.0, 0.1):
        expected = float(nn.cross_entropy(*given, label_smoothing=alpha))
        found = penalties.smoothed_cross_entropy(logits, labels, alpha=alpha)
        np.testing.assert_allclose(found, expected, **CLOSE)
    found = metrics.negative_log_likelihood(logits, labels)
    np.testing.assert_allclose(found, float(nn.cross_entropy(*given)), **CLOSE)
    kernel, _ = weights("Dense")
    tensor = torch.tensor(kernel)
    expected = nn.softshrink(tensor, 0.5).numpy()
    found = constrained(constraints.soft_threshold(0.5), kernel)
    np.testing.assert_allclose(found, expected, **CLOSE)
    expected = torch.renorm(tensor, 2, 1, 1.5).numpy()
    found = constrained(constraints.max_norm(1.5), kernel)
    np.testing.assert_allclose(found, expected, **CLOSE)
    expected = float(torch.linalg.matrix_norm(tensor, ord=2)) ** 2
    found = penalties.spectral({"kernel": kernel})
    np.testing.assert_allclose(found, expected, **CLOSE)
    passes = np.stack([logits, np.roll(logits, 1, axis=0)])
    log_p, log_q = (nn.log_softmax(torch.tensor(one), -1) for one in passes)
    both = [
        float(nn.kl_div(q, p, log_target=True, reduction="batchmean"))
        for p, q in ((log_p, log_q), (log_q, log_p))
    ]
    found = penalties.consistency(passes)
    np.testing.assert_allclose(found, np.mean(both), **CLOSE)
    mean, targets = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    variance = np.float32([0.01, 0.1, 1, 1, 4, 100])
    expected = nn.gaussian_nll_loss(
        *map(torch.tensor, (mean, targets, variance)), full=True, reduction="none"
    )
    found = -one_normal(jnp.asarray(mean), jnp.asarray(variance), targets)
    np.testing.assert_allclose(found, expected.numpy(), **CLOSE)
