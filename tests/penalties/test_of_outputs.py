"""Penalties of outputs: formulas in float64, edges, and no array of labels."""

import functools
import itertools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax, softmax

from at_once import at_once
from chance import assert_mean, normal
from jaxdrop import penalties

smoothed_cross_entropy = at_once(penalties.smoothed_cross_entropy)
confidence = at_once(penalties.confidence)
consistency = jax.jit(penalties.consistency, static_argnames="pass_axis")
jacobian = at_once(penalties.jacobian)
BATCH, CLASSES = 37, 53  # primes: a shape in a compiled program is no coincidence


@pytest.fixture(scope="module")
def logits():
    rng = np.random.default_rng(0)
    return jnp.asarray((3 * rng.normal(size=(BATCH, CLASSES))).astype(np.float32))


@pytest.fixture(scope="module")
def labels():
    return jnp.asarray(np.random.default_rng(1).integers(0, CLASSES, BATCH))


def one_hot_loss(logits, labels, alpha):
    """The formula with the labels written out, of each example, in float64."""
    logits = np.asarray(logits, np.float64)
    soft = (1 - alpha) * np.eye(logits.shape[-1])[np.asarray(labels)]
    soft = soft + alpha / logits.shape[-1]
    return -(soft * log_softmax(logits, axis=-1)).sum(axis=-1)


# Smoothed cross-entropy.


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
def test_smoothing_equals_the_one_hot_formula(logits, labels, alpha):
    loss = functools.partial(smoothed_cross_entropy, logits, labels)
    expected = one_hot_loss(logits, labels, alpha)
    np.testing.assert_allclose(loss(alpha=alpha), expected.mean(), rtol=1e-6)
    traced = jax.jit(lambda a: loss(alpha=a))(jnp.float32(alpha))
    np.testing.assert_allclose(traced, expected.mean(), rtol=1e-6)
    each = jax.vmap(functools.partial(smoothed_cross_entropy, alpha=alpha))
    np.testing.assert_allclose(jax.jit(each)(logits, labels), expected, atol=1e-6)


def test_the_gradient_equals_that_of_the_one_hot_formula(logits, labels):
    loss = functools.partial(smoothed_cross_entropy, alpha=0.1)
    gradient = jax.jit(jax.grad(loss))(logits, labels)
    soft = 0.9 * np.eye(CLASSES)[np.asarray(labels)] + 0.1 / CLASSES
    expected = (softmax(np.asarray(logits, np.float64), axis=-1) - soft) / BATCH
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def arrays_of_labels(loss, logits, labels):
    """What may be labels: arrays of the logits' shape not computed from them."""
    program = jax.jit(loss).lower(logits, labels).compile().as_text()
    full = rf"\[(?:{BATCH},(?:1,)?{CLASSES}|{CLASSES},{BATCH})\]"
    return re.findall(rf"\b(?:pred|[su]\d+){full}", program) + re.findall(
        rf"\bf\d+{full}\S* (?:constant|convert|gather)\(", program
    )


def test_the_compiled_program_holds_no_array_of_labels(logits, labels):
    ours = functools.partial(penalties.smoothed_cross_entropy, alpha=0.1)

    def one_hot(logits, labels):
        soft = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), 0.1)
        return optax.softmax_cross_entropy(logits, soft).mean()

    def looked_up(logits, labels):
        soft = optax.smooth_labels(jnp.eye(CLASSES)[labels], 0.1)
        return optax.softmax_cross_entropy(logits, soft).mean()

    assert not arrays_of_labels(ours, logits, labels)
    assert not arrays_of_labels(jax.value_and_grad(ours), logits, labels)
    for made in (one_hot, looked_up):
        assert arrays_of_labels(made, logits, labels)  # which this test can see


def test_weights_leave_padding_out_whatever_it_holds(logits, labels):
    weights = np.arange(BATCH) % 3 != 0
    expected = one_hot_loss(logits, labels, 0.1)[weights].mean()
    spoiled = np.where(weights[:, None], logits, np.float32(np.nan))
    ignored, weights = jnp.asarray(np.where(weights, labels, -1)), jnp.asarray(weights)
    loss = lambda z: smoothed_cross_entropy(z, ignored, alpha=0.1, weights=weights)
    value, gradient = jax.jit(jax.value_and_grad(loss))(spoiled)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    chex.assert_tree_all_finite(gradient)
    gradient = np.asarray(gradient)
    assert (gradient[::3] == 0).all() and (gradient[1] != 0).any()
    numbers = jnp.asarray(np.linspace(0.0, 2.0, BATCH, dtype=np.float32))
    value = smoothed_cross_entropy(logits, labels, alpha=0.1, weights=numbers)
    expected = np.average(one_hot_loss(logits, labels, 0.1), weights=numbers)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("bad", [-1, CLASSES])
def test_a_label_that_is_no_class_is_nan_and_not_another_class(logits, labels, bad):
    spoiled = np.array(labels)
    spoiled[3] = bad
    assert np.isnan(smoothed_cross_entropy(logits, jnp.asarray(spoiled), alpha=0.1))


def test_half_precision_logits_are_summed_in_float32(labels):
    logits = jnp.full((BATCH, CLASSES), 6e4, jnp.float16)
    loss = smoothed_cross_entropy(logits, labels, alpha=0.1)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, np.log(CLASSES), rtol=1e-3)


def test_impossible_classes_are_fine_without_smoothing():
    logits = jnp.array([[1.0, -jnp.inf, 0.5]])
    loss = lambda z: smoothed_cross_entropy(z, jnp.array([0]), alpha=0.0)
    value, gradient = jax.jit(jax.value_and_grad(loss))(logits)
    np.testing.assert_allclose(value, np.log1p(np.exp(-0.5)), rtol=1e-6)
    chex.assert_tree_all_finite(gradient)


def test_rejects_labels_and_shares_that_make_no_sense(logits, labels):
    loss = smoothed_cross_entropy
    with pytest.raises(TypeError, match=r"labels must be integers, got .* float32"):
        loss(logits, jax.nn.one_hot(labels, CLASSES), alpha=0.1)
    with pytest.raises(ValueError, match=r"labels \(36,\) must have the shape of"):
        loss(logits, labels[1:], alpha=0.1)
    with pytest.raises(ValueError, match=r"alpha .* got 1\.5"):
        loss(logits, labels, alpha=1.5)
    with pytest.raises(ValueError, match="weights must have the shape of the batch"):
        loss(logits, labels, alpha=0.1, weights=jnp.ones((BATCH, 1)))


# Confidence.


def test_confidence_is_the_mean_negative_entropy(logits):
    p = softmax(np.asarray(logits, np.float64), axis=-1)
    expected = (p * np.log(p)).sum(axis=-1)
    value = confidence(logits, coefficient=0.5)
    np.testing.assert_allclose(value, 0.5 * expected.mean(), rtol=1e-6)
    weights = jnp.asarray(np.linspace(0.0, 1.0, BATCH, dtype=np.float32))
    value = confidence(logits, weights=weights)
    np.testing.assert_allclose(value, np.average(expected, weights=weights), rtol=1e-6)


def test_confidence_is_finite_for_certain_and_impossible_classes():
    logits = jnp.array([[0.0, -jnp.inf, -jnp.inf], [1e4, -1e4, 0.0], [3.0, 3.0, 3.0]])
    value, gradient = jax.jit(jax.value_and_grad(confidence))(logits)
    np.testing.assert_allclose(value, -np.log(3) / 3, rtol=1e-6)
    chex.assert_tree_all_finite(gradient)


# Consistency.


@pytest.mark.parametrize("num_passes", [2, 3, 5])
def test_consistency_is_the_mean_divergence_over_ordered_pairs(num_passes):
    logits = 2 * normal(num_passes, 6, 7)
    log_p = log_softmax(np.asarray(logits, np.float64), axis=-1)
    pairs = [
        (np.exp(p) * (p - q)).sum(axis=-1) for p, q in itertools.permutations(log_p, 2)
    ]
    expected = np.mean(pairs, axis=0)
    value = consistency(logits, coefficient=3.0)
    np.testing.assert_allclose(value, 3 * expected.mean(), rtol=1e-5)
    last = consistency(np.moveaxis(logits, 0, 1), pass_axis=1)
    np.testing.assert_allclose(last, expected.mean(), rtol=1e-5)
    # A divergence from a distribution in which a class is impossible is infinite.
    spoiled = np.array(logits)
    spoiled[0, 2, 1] = -np.inf
    assert consistency(spoiled) == np.inf
    spoiled[0, 2, :2] = [-np.inf, np.nan]
    assert np.isnan(consistency(spoiled))


def test_passes_that_nearly_agree_keep_their_digits():
    """A difference of entropies would leave nothing but rounding errors here."""
    logits = normal(1, 4, 10)
    logits = logits + 1e-3 * normal(2, 4, 10, seed=1)
    log_p = log_softmax(np.asarray(logits, np.float64), axis=-1)
    expected = ((np.exp(log_p[0]) - np.exp(log_p[1])) * (log_p[0] - log_p[1])).sum(
        -1
    ) / 2
    value = consistency(logits)
    assert value < 1e-5
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-3)


def test_gradients_flow_into_every_pass_and_vanish_where_they_agree():
    logits = normal(3, 4, 5)
    gradient = np.asarray(jax.jit(jax.grad(consistency))(logits))
    assert (np.abs(gradient).sum(axis=(1, 2)) > 0).all()
    same = np.broadcast_to(logits[:1], logits.shape)
    np.testing.assert_allclose(jax.jit(jax.grad(consistency))(same), 0, atol=1e-7)


def test_classes_that_no_pass_allows_count_for_nothing():
    logits = normal(2, 4, 5)
    padded = np.concatenate([logits, np.full((2, 4, 1), -np.inf, np.float32)], -1)
    value, gradient = jax.jit(jax.value_and_grad(consistency))(padded)
    np.testing.assert_allclose(value, consistency(logits), rtol=1e-6)
    chex.assert_tree_all_finite(gradient)


def test_consistency_leaves_padding_out():
    logits = normal(2, 4, 5)
    weights = jnp.array([1, 1, 0, 1])
    spoiled = np.array(logits)
    spoiled[:, 2] = np.nan
    value = consistency(spoiled, weights=weights)
    kept = consistency(np.asarray(logits)[:, [0, 1, 3]])
    np.testing.assert_allclose(value, kept, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 5), (5,)])
def test_rejects_fewer_than_two_passes(shape):
    with pytest.raises(ValueError, match="at least two passes"):
        penalties.consistency(jnp.zeros(shape))


# Jacobian.


def network(x):
    """Two layers with a known Jacobian."""
    first = jnp.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])
    second = jnp.array(
        [[1.0, 0.0, 2.0, 1.0], [0.5, 1.0, 0.0, -1.0], [0.1, 0.2, 0.3, 2]]
    )
    return jnp.tanh(x @ first) @ second


def exact_jacobian_norm(x):
    one = lambda row: network(row[None])[0]
    each = np.asarray(jax.jit(jax.vmap(jax.jacobian(one)))(x))
    return (each**2).sum(axis=(1, 2))


def test_the_exact_norm_is_jaxs():
    x = normal(5, 2)
    value = jacobian(None, network, x, num_projections=None, coefficient=0.5)
    np.testing.assert_allclose(value, 0.5 * exact_jacobian_norm(x).mean(), rtol=1e-6)


@pytest.mark.parametrize("num_projections", [1, 3])
def test_random_directions_estimate_it_without_bias(key, num_projections):
    x = normal(5, 2)
    keys = jax.random.split(key, 2000)
    estimate = lambda k: jacobian(k, network, x, num_projections=num_projections)
    draws = jax.jit(jax.vmap(estimate))(keys)
    assert draws.std() > 0
    assert_mean(draws, exact_jacobian_norm(x).mean())


def test_the_penalty_can_be_trained_on(key):
    x = normal(5, 2)

    def penalty(scale):
        return jacobian(key, lambda x: scale * network(x), x)

    value, slope = jax.jit(jax.value_and_grad(penalty))(jnp.float32(2.0))
    np.testing.assert_allclose(slope, value, rtol=1e-5)  # d(s**2 c)/ds = 2 s c = s**2 c


def test_images_and_maps_are_flattened(key):
    x = normal(3, 4, 2, 2)
    double = lambda x: 2 * x
    value = jacobian(key, double, x)  # on the sphere this one is exact
    np.testing.assert_allclose(value, 4 * 16, rtol=1e-5)
    half = jax.ShapeDtypeStruct(x.shape, jnp.bfloat16)
    value = jax.eval_shape(lambda x: jacobian(key, double, x), half)
    assert value.dtype == jnp.float32


def test_jacobian_needs_a_key_only_to_draw():
    x = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="jacobian: key must be a PRNG key"):
        jacobian(None, network, x)
    with pytest.raises(ValueError, match="num_projections must be at least 1, got 0"):
        jacobian(jax.random.key(0), network, x, num_projections=0)
    with pytest.raises(TypeError, match="num_projections must be an integer, got True"):
        jacobian(jax.random.key(0), network, x, num_projections=True)


@pytest.mark.parametrize(
    "function, x, found",
    [
        (lambda x: x.sum(), jnp.ones((2, 2)), r"\(2, 2\) to \(\)"),
        (lambda x: (x, x), jnp.ones((2, 2)), r"\(2, 2\) to tuple"),
        (lambda x: x.T, jnp.ones((2, 3)), r"\(2, 3\) to \(3, 2\)"),
        (lambda x: 2 * x, jnp.float32(1), r"\(\) to \(\)"),
    ],
)
def test_a_jacobian_is_that_of_a_batch(key, function, x, found):
    with pytest.raises(ValueError, match=f"jacobian: function must .* {found}"):
        jacobian(key, function, x)


@pytest.mark.parametrize("shape", [(), (2, 0)])
def test_logits_without_classes_are_refused(shape):
    logits = jnp.ones(shape)
    penalize = (
        lambda: smoothed_cross_entropy(logits, jnp.zeros(2, int), alpha=0.1),
        lambda: confidence(logits),
        lambda: penalties.consistency(logits),
    )
    for penalty in penalize:
        with pytest.raises(
            ValueError, match=r"logits must be \(\*batch, num_classes\)"
        ):
            penalty()


def test_complex_logits_are_refused():
    with pytest.raises(TypeError, match=r"^confidence: logits must be real"):
        confidence(jnp.ones((2, 3), complex))


def test_what_is_traced_and_out_of_range_gives_nan():
    logits, labels = jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.array([0, 1])
    smoothed = jax.jit(lambda a: smoothed_cross_entropy(logits, labels, alpha=a))
    for alpha in (-0.1, 1.5, np.nan):
        assert np.isnan(smoothed(np.float32(alpha)))
    negative = jnp.array([-1.0, 2.0])
    assert np.isnan(confidence(logits, weights=negative))


def test_the_confidence_of_diverged_logits_is_nan():
    logits = jnp.array([[jnp.nan, 0.0], [1.0, 2.0]])
    value, weighted = at_once(
        lambda: [confidence(logits, weights=w) for w in (None, jnp.array([0.0, 1.0]))]
    )()
    assert np.isnan(value) and np.isfinite(weighted)


# Labels of every width, and numbers of the host.

WIDTHS = [
    *((np.uint8, 256), (np.uint8, 300), (np.int8, 128), (np.int16, 50257)),
    *((np.uint16, 65536), (np.uint32, 7), (np.int64, 7), (np.uint64, 7)),
]


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("dtype, num_classes", WIDTHS)
def test_labels_may_be_of_any_width(dtype, num_classes, on_device):
    last = min(num_classes - 1, np.iinfo(dtype).max)
    labels = np.array([0, last], dtype)
    labels = jnp.asarray(labels) if on_device else labels
    logits = np.zeros((2, num_classes), np.float32)
    logits[1, last] = 1
    logits = jnp.asarray(logits)
    loss = smoothed_cross_entropy(logits, labels, alpha=0.0)
    sure = np.log(num_classes - 1 + np.e) - 1
    np.testing.assert_allclose(loss, (np.log(num_classes) + sure) / 2, rtol=1e-5)


@pytest.mark.parametrize("label", [2**32, 2**31, -(2**32), 2**63 - 1])
def test_a_label_that_int32_does_not_hold_is_not_another_class(label):
    logits = jnp.zeros((2, 3))
    for labels in ([0, label], np.array([0, label])):
        loss = functools.partial(penalties.smoothed_cross_entropy, logits, labels)
        counted, ignored = at_once(
            lambda loss=loss: (loss(alpha=0.1), loss(alpha=0.1, weights=[1, 0]))
        )()
        assert np.isnan(counted)
        np.testing.assert_allclose(ignored, np.log(3), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_a_shift_of_all_logits_costs_no_digits(offset, alpha):
    logits = np.random.default_rng(3).integers(-16, 16, (5, 7)) / 16  # exact beside it
    labels = np.arange(5)
    shifted = jnp.asarray(logits + offset, jnp.float32)
    loss = jax.jit(
        jax.value_and_grad(lambda z: smoothed_cross_entropy(z, labels, alpha=alpha))
    )
    value, gradient = loss(shifted)
    expected = one_hot_loss(logits, labels, alpha).mean()
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    chex.assert_trees_all_close(
        gradient, loss(jnp.asarray(logits, jnp.float32))[1], atol=1e-7
    )


def test_float64_logits_of_the_host_keep_their_differences():
    logits = np.array([[1e9, 1e9 + 1.0, 1e9 - 2.0]])
    expected = one_hot_loss(logits, [0], 0.1).mean()
    value = smoothed_cross_entropy(logits, [0], alpha=0.1)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    p = softmax(logits, axis=-1)
    np.testing.assert_allclose(confidence(logits), (p * np.log(p)).sum(), rtol=1e-5)
    passes = np.stack([logits, logits[:, ::-1]], axis=1)  # (batch, passes, classes)
    of_passes = at_once(functools.partial(penalties.consistency, pass_axis=1))
    near = of_passes(passes - 1e9)
    np.testing.assert_allclose(of_passes(passes), near, rtol=1e-5)


# Binary models with one logit.


@pytest.mark.parametrize("shape", [(4, 1), (4,), (2, 4, 1), (1,)])
def test_one_logit_is_refused_with_the_remedy(shape):
    logits = jnp.ones(shape)
    with pytest.raises(ValueError, match=r"jaxdrop\.metrics\.binary_logits"):
        confidence(logits)
    with pytest.raises(ValueError, match=r"jaxdrop\.metrics\.binary_logits"):
        penalties.consistency(jnp.stack([logits, logits]))
    for labels in (jnp.zeros(shape[:-1], int), jnp.zeros(shape, int)):
        if shape == (4,) and labels.shape == ():
            continue  # one example of four classes
        with pytest.raises(ValueError, match=r"jaxdrop\.metrics\.binary_logits"):
            smoothed_cross_entropy(logits, labels, alpha=0.1)


def test_two_logits_give_the_values_of_one():
    """The remedy: classes with logits 0 and z."""
    z = np.array([0.0, 1.0, -4.0])
    logits = jnp.asarray(np.stack([np.zeros(3), z], axis=-1), jnp.float32)
    p = 1 / (1 + np.exp(-z))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(confidence(logits), -entropy.mean(), rtol=1e-6)
    loss = smoothed_cross_entropy(logits, jnp.ones(3, int), alpha=0.0)
    np.testing.assert_allclose(loss, -np.log(p).mean(), rtol=1e-6)


def test_one_example_of_several_classes_has_an_axis_of_length_one():
    logits = jnp.array([1.0, 0.0, 2.0])
    with pytest.raises(ValueError, match=r"expand_dims\(logits, -2\)"):
        confidence(logits)
    p = softmax(np.asarray(logits, np.float64))
    value = confidence(jnp.expand_dims(logits, -2))
    np.testing.assert_allclose(value, (p * np.log(p)).sum(), rtol=1e-6)


def test_nan_logits_give_nan():
    """Also where another class is impossible, or the smoothing is off."""
    for row in ([jnp.nan, 0.0, 1.0], [jnp.nan, -jnp.inf, 1.0]):
        logits = jnp.array([row, [1.0, 2.0, 3.0]])
        labels = jnp.array([2, 0])
        found = jax.jit(
            lambda z, labels=labels: (
                *(smoothed_cross_entropy(z, labels, alpha=a) for a in (0.0, 0.1)),
                *(confidence(z), consistency(jnp.stack([z, z]))),
            )
        )(logits)
        assert np.isnan(found).all()
    x = jnp.array([[jnp.nan, 1.0]])
    assert np.isnan(jacobian(None, jnp.tanh, x, num_projections=None))


def test_labels_that_are_no_integers_are_refused_by_name():
    with pytest.raises(TypeError, match="labels must be integers, got bool"):
        penalties.smoothed_cross_entropy(jnp.ones((2, 3)), jnp.ones(2, bool), alpha=0.1)
