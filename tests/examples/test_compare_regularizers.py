"""The comparison of regularizers: its methods, its training and its two evaluations."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compare_regularizers import ALL_METHODS, Further
from flax import nnx
from scipy import special

import jaxdrop
from comparison import sweep
from comparison.answers import evaluate, monte_carlo, weight_scaling
from comparison.training import train
from data import load
from jaxdrop import metrics, penalties
from study.recipe import ImageRecipe

METHOD = {method.key: method for method in ALL_METHODS}
RECIPE = ImageRecipe(
    hidden=(8,),
    rates=(0.1, 0.5),
    standardize=False,
    epochs=2,
    batch_size=32,
    learning_rate=1e-2,
)
by_method = pytest.mark.parametrize(
    "method", ALL_METHODS, ids=lambda method: method.key
)


@pytest.fixture(scope="module")
def images():
    return load("digits", train_size=100)


def trained(method, images, keys):
    return sweep.at(train(method, RECIPE, images, keys, lambda: None).states, 0)


def network_of(method, key):
    return method.at({}, RECIPE.rates).network((64, 8, 10), nnx.Rngs(key))


def of_seed(states, seed):
    return jax.tree.map(lambda leaf: leaf[seed], states)


@nnx.jit
def two_passes(network, x):
    return network(x), network(x)


@by_method
def test_a_method_is_random_if_its_passes_differ(method, images, key):
    network = network_of(method, key)
    if isinstance(method, Further) and method.schedule is not None:
        method.at({}, RECIPE.rates).set_rates(network, jnp.int32(10), 10)
    first, second = jax.device_get(two_passes(network, images.test.x[:5]))
    assert bool((first != second).any()) == method.is_random


@by_method
def test_no_noise_is_left_in_evaluation(method, images, key):
    network = network_of(method, key)
    network.eval()
    first, second = two_passes(network, images.test.x[:5])
    np.testing.assert_array_equal(first, second)


def test_the_l2_penalty_is_of_kernels_only(key):
    method = METHOD["l2-penalty"]
    network = network_of(method, key)
    nnx.update(network, jax.tree.map(jnp.ones_like, nnx.state(network, nnx.Param)))
    penalty = float(method.penalty(network, None))
    assert penalty == pytest.approx(method.l2 * (64 * 8 + 8 * 10), rel=1e-5)


def test_smoothed_labels_are_a_mixture_with_all_classes(key):
    method = METHOD["label-smoothing"]
    _, targets = method.examples(key, jnp.zeros((4, 64)), jnp.arange(4))
    share = method.label_smoothing
    expected = (1 - share) * np.eye(4, 10) + share / 10
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_mixed_and_noisy_examples_are_other_ones_at_each_step(key):
    x, labels = jnp.ones((8, 64)), jnp.arange(8)
    for name in ("mixup", "input-noise"):
        first, _ = METHOD[name].examples(key, x * labels[:, None], labels)
        second, targets = METHOD[name].examples(
            jax.random.fold_in(key, 1), x * labels[:, None], labels
        )
        assert (first != second).any()
        np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-6)


def test_r_drop_adds_the_divergence_of_its_two_passes(images, key):
    method = METHOD["r-drop"]
    x, targets = method.examples(key, images.train.x[:8], images.train.y[:8])
    twin, first, second = (network_of(method, key) for _ in range(3))
    logits = np.stack(two_passes(twin, x))
    assert (logits[0] != logits[1]).any()
    divergence = jax.jit(penalties.consistency)(logits)
    plain = replace(method, consistency=0.0)
    without = nnx.jit(lambda *given: plain.loss(*given))(first, x, targets)
    whole = nnx.jit(lambda *given: method.loss(*given))(second, x, targets)
    difference = float(whole) - float(without)
    assert difference == pytest.approx(float(divergence), rel=1e-3)


def test_a_learned_rate_rises_where_only_its_entropy_counts(key):
    method = METHOD["concrete-dropout"]
    penalty = lambda network: method.penalty(network, None)
    gradient = nnx.jit(nnx.grad(penalty))(network_of(method, key))
    for layer in (0, 2):
        assert float(gradient["layers"][layer]["logit_rate"][...]) < 0


@pytest.mark.parametrize(
    ("name", "shares"),
    [("early-dropout", (1.0, 0.0)), ("curriculum-dropout", (0.0, 1.0))],
)
def test_a_schedule_sets_both_rates(name, shares, key):
    method = METHOD[name].at({"rate": 0.4}, RECIPE.rates)
    network = method.network((64, 8, 10), nnx.Rngs(key))
    for step, share in zip((0, 100), shares, strict=True):
        method.set_rates(network, jnp.int32(step), 100)
        rates = float(network.input_rate[...]), float(network.hidden_rate[...])
        assert rates == pytest.approx((share * 0.08, share * 0.4), abs=1e-4)


def step_without_gradient(method, params):
    optimizer = method.optimizer(optax.constant_schedule(0.1))

    @jax.jit
    def step(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    return jax.device_get(step(params))


def test_weight_decay_shrinks_kernels_and_leaves_biases():
    method = METHOD["weight-decay"]
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    after = step_without_gradient(method, params)
    assert np.allclose(after["kernel"], 1 - 0.1 * method.weight_decay)
    assert (after["bias"] == 1).all()


def test_max_norm_bounds_the_weights_that_lead_into_a_unit():
    method = METHOD["dropout+max-norm"]
    params = {"kernel": jnp.array([[3.0, 0.1], [4.0, 0.1]])}
    kernel = step_without_gradient(method, params)["kernel"]
    assert float(np.linalg.norm(kernel[:, 0])) == pytest.approx(method.max_norm)
    assert (kernel[:, 1] == np.float32(0.1)).all()


@pytest.mark.parametrize("name", ["l1", "group-lasso"])
def test_a_proximal_step_leaves_exact_zeros(name):
    params = {"kernel": jnp.array([[1e-6, 1.0], [1e-6, 1.0]])}
    kernel = step_without_gradient(METHOD[name], params)["kernel"]
    assert (kernel[:, 0] == 0).all() and (kernel[:, 1] > 0.9).all()


@pytest.mark.slow
def test_early_stopping_keeps_the_parameters_of_its_best_epoch(images, key):
    seeds = jax.random.split(key, 2)
    hasty = replace(RECIPE, epochs=8, learning_rate=0.3)
    method = replace(METHOD["early-stopping"], patience=2)
    training = train(method, hasty, images, seeds, lambda: None)
    kept = evaluate(seeds, sweep.at(training.states, 0), images.validation)
    best = training.curves.validation[0].min(-1)
    assert (best < training.curves.validation[0, :, -1]).any()
    for nll, curve in zip(kept.nll, training.curves.validation[0], strict=True):
        assert np.isclose(curve, nll, rtol=1e-4).any()
        assert nll <= curve[0] * 1.0001


@pytest.mark.slow
def test_seeds_trained_together_are_as_each_trained_alone(images):
    seeds = jax.random.split(jax.random.key(3), 2)
    training = train(METHOD["dropout"], RECIPE, images, seeds, lambda: None)
    together = sweep.at(training.states, 0)
    assert training.curves.validation.shape == (1, 2, RECIPE.epochs)
    alone = trained(METHOD["dropout"], images, seeds[1:])
    for a, b in zip(
        jax.tree.leaves(together.params), jax.tree.leaves(alone.params), strict=True
    ):
        np.testing.assert_allclose(a[1], b[0], rtol=1e-4, atol=1e-5)
        assert (a[0] != a[1]).any()


@pytest.fixture(scope="module")
def states(images):
    seeds = jax.random.split(jax.random.key(3), 2)
    return trained(METHOD["dropout"], images, seeds)


@pytest.mark.slow
def test_monte_carlo_is_the_mean_of_the_probabilities_of_its_samples(
    images, states, key
):
    state, x = of_seed(states, 0), images.test.x[:20]
    sample = jax.jit(lambda key: jaxdrop.nnx.mc_apply(key, state.model, x))
    keys = [jax.random.fold_in(key, t) for t in range(4)]
    mean = sum(special.softmax(sample(key), -1) for key in keys) / 4
    log_mean = jax.jit(monte_carlo, static_argnames="num_samples")(
        key, state, x, num_samples=4
    )
    np.testing.assert_allclose(np.exp(log_mean), mean, atol=1e-6)
    one_pass = jax.jit(weight_scaling)(state, x)
    assert not np.allclose(log_mean, one_pass, atol=1e-3)


def test_the_memory_of_monte_carlo_does_not_grow_with_its_samples(images, states, key):
    def temporary_bytes(num_samples):
        predict = jax.jit(monte_carlo, static_argnames="num_samples")
        lowered = predict.lower(key, of_seed(states, 0), images.test.x, num_samples)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    one_sample = 4 * 10 * len(images.test.y)
    assert temporary_bytes(100) - temporary_bytes(10) < one_sample


def test_scores_are_those_of_each_seed(images, states):
    scores = evaluate(jax.random.split(jax.random.key(0), 2), states, images.test)
    log_probs = np.asarray(jax.jit(weight_scaling)(of_seed(states, 1), images.test.x))
    right = log_probs.argmax(-1) == images.test.y
    assert float(scores.error[1]) == pytest.approx(1 - right.mean(), abs=1e-6)
    ece = metrics.expected_calibration_error(np.exp(log_probs), images.test.y)
    assert float(scores.ece[1]) == pytest.approx(float(ece), abs=1e-5)
