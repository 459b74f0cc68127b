"""What every metric promises, one row per metric and one test per promise."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import metrics

N, C = 24, 4


def classified(rng, n):
    probs = rng.dirichlet(np.ones(C), n).astype(np.float32)
    return probs, rng.integers(0, C, n)


def logits_and_labels(rng, n):
    return rng.normal(size=(n, C)).astype(np.float32), rng.integers(0, C, n)


def detected(rng, n):
    return rng.normal(size=n).astype(np.float32), rng.integers(0, 2, n)


def answered(rng, n):
    return tuple(rng.random((2, n)).astype(np.float32))


def gaussian(rng, n):
    mean, std, targets = rng.normal(size=(3, n)).astype(np.float32)
    return mean, np.abs(std) + 0.1, targets


def sampled(rng, n):
    samples = rng.normal(size=(n, 5)).astype(np.float32)
    return samples, rng.normal(size=n).astype(np.float32)


def interval(rng, n):
    lower, width, targets = rng.normal(size=(3, n)).astype(np.float32)
    return lower, lower + np.abs(width), targets


def spreads(rng, n):
    return gaussian(rng, n)[1:2]


def predicted(rng, n):
    return tuple(rng.normal(size=(2, n)).astype(np.float32))


def calibration_from_one_set_of_bins(*data, **weights):
    bins = metrics.calibration_bins(*data, **weights)
    return jnp.stack(
        [
            bins.root_mean_squared_error,
            metrics.expected_calibration_error(*data, **weights),
            metrics.maximum_calibration_error(*data, **weights),
        ]
    )


def classwise(*data, **weights):
    metric = metrics.classwise_calibration_error
    return jnp.stack(
        [
            metric(*data, **weights),
            metric(*data, adaptive=True, threshold=0.1, num_bins=4, **weights),
        ]
    )


def brier(*data, **weights):
    parts = metrics.brier_decomposition(*data, **weights)
    return jnp.stack([metrics.brier_score(*data, **weights), *parts])


def detection(*data, **weights):
    return jnp.stack(
        [
            metrics.auroc(*data, **weights),
            metrics.average_precision(*data, **weights),
            metrics.fpr_at_tpr(*data, **weights),
        ]
    )


def selection(*data, **weights):
    areas = [
        metrics.aurc(*data, kind=kind, **weights)
        for kind in ("risk", "excess", "generalized")
    ]
    curve = metrics.risk_coverage(*data, **weights)
    kept = metrics.accuracy_rejection(*data, **weights)
    return jnp.stack([*areas, curve.coverage_at(0.5), kept.accuracy[:1].mean()])


def normal_calibration(*data, **weights):
    result = metrics.regression_calibration(*data, num_bins=3, num_levels=9, **weights)
    return jnp.stack([result.mace, result.rmsce, result.ence, result.uce])


def intervals(lower, upper, targets, **weights):
    return jnp.stack(
        [
            metrics.interval_coverage(lower, upper, targets, **weights),
            metrics.interval_width(lower, upper, **weights),
            metrics.winkler_score(lower, upper, targets, alpha=0.1, **weights),
        ]
    )


# The names of the metrics, a function, what makes its data, and why an example of
# weight 2 is not two examples, if it is not.
ROWS = [
    (
        "calibration_bins expected_calibration_error maximum_calibration_error",
        calibration_from_one_set_of_bins,
        classified,
        "",
    ),
    (
        "adaptive_calibration_error",
        partial(metrics.adaptive_calibration_error, num_bins=4),
        classified,
        "",
    ),
    ("classwise_calibration_error", classwise, classified, ""),
    (
        "debiased_calibration_error",
        partial(metrics.debiased_calibration_error, num_bins=3),
        classified,
        "weights are importances",
    ),
    ("brier_score brier_decomposition", brier, classified, ""),
    ("negative_log_likelihood", metrics.negative_log_likelihood, logits_and_labels, ""),
    ("temperature_scaling", metrics.temperature_scaling, logits_and_labels, ""),
    ("auroc average_precision fpr_at_tpr", detection, detected, ""),
    (
        "risk_coverage aurc accuracy_rejection",
        selection,
        answered,
        "a curve has one point per example",
    ),
    ("crps_gaussian", metrics.crps_gaussian, gaussian, ""),
    ("crps_samples", partial(metrics.crps_samples, axis=-1), sampled, ""),
    ("regression_calibration", normal_calibration, gaussian, ""),
    ("sharpness", metrics.sharpness, spreads, ""),
    ("interval_coverage interval_width winkler_score", intervals, interval, ""),
    ("pinball_loss", partial(metrics.pinball_loss, level=0.9), predicted, ""),
]
METRICS = {names: row for names, *row in ROWS}
for_every_metric = pytest.mark.parametrize("name", METRICS)
COMPILED = {name: jax.jit(metric) for name, (metric, _, _) in METRICS.items()}


def row(name, n=N, seed=0):
    metric, data, exception = METRICS[name]
    return metric, COMPILED[name], data(np.random.default_rng(seed), n), exception


def padded(data, weights, n=N + 8):
    """Data and weights of ``n`` examples: one shape, and one compilation, for all."""
    rest = n - len(weights)
    junk = [
        np.full_like(
            a, -1 if a.dtype.kind == "i" else np.nan, shape=(rest, *a.shape[1:])
        )
        for a in data
    ]
    filled = [np.concatenate(pair) for pair in zip(data, junk, strict=True)]
    return filled, np.concatenate([weights, np.zeros(rest)]).astype(np.float32)


def test_every_metric_has_a_row():
    functions = {
        name
        for name, thing in vars(metrics).items()
        if callable(thing) and not name.startswith("_") and not isinstance(thing, type)
    } - {"binary_logits"}  # which makes the data of metrics
    assert functions == set(" ".join(METRICS).split())


@for_every_metric
def test_vmap_equals_a_loop(name):
    metric, compiled, data, _ = row(name)
    other = row(name, seed=1)[2]
    both = [np.stack(pair) for pair in zip(data, other, strict=True)]
    expected = [compiled(*data), compiled(*other)]
    np.testing.assert_allclose(jax.jit(jax.vmap(metric))(*both), expected, rtol=2e-6)


@for_every_metric
def test_an_example_of_weight_zero_may_hold_anything(name):
    _, compiled, data, _ = row(name)
    junk, weights = padded(data, np.ones(N))
    result = compiled(*junk, weights=weights)
    np.testing.assert_allclose(result, compiled(*data), rtol=2e-6)


@for_every_metric
def test_a_weight_of_two_is_an_example_twice(name):
    _, compiled, data, exception = row(name)
    if exception:
        pytest.skip(exception)
    twice = np.repeat([2, 1], 8)  # 16 examples, as 24
    few = [a[:16] for a in data]
    junk, weights = padded(few, twice)
    repeated = compiled(*(np.repeat(a, twice, axis=0) for a in few))
    result = compiled(*junk, weights=weights)
    np.testing.assert_allclose(result, repeated, rtol=1e-5, atol=1e-7)


@for_every_metric
def test_one_example_among_padding_is_one_example(name):
    _, compiled, data, _ = row(name, n=1)
    alone = compiled(*data)
    junk, weights = padded(data, np.ones(1))
    np.testing.assert_allclose(compiled(*junk, weights=weights), alone, rtol=2e-6)
    # There is no best temperature of one example, and it is positive or negative.
    undefined = name == "temperature_scaling" or "auroc" in name
    assert undefined or jnp.isfinite(alone).all()


@for_every_metric
def test_weights_are_relative_and_the_order_does_not_matter(name):
    _, compiled, data, _ = row(name)
    junk, weights = padded(data, np.random.default_rng(3).random(N))
    order = np.random.default_rng(4).permutation(N + 8)
    expected = compiled(*junk, weights=weights)
    shuffled = compiled(*(a[order] for a in junk), weights=4 * weights[order])
    np.testing.assert_allclose(shuffled, expected, rtol=1e-5)


@for_every_metric
def test_results_are_float32_or_wider(name):
    metric, _, data, _ = row(name)
    to = lambda dtype: [a.astype(dtype) if a.dtype == np.float32 else a for a in data]
    assert jax.eval_shape(metric, *to(jnp.bfloat16)).dtype == jnp.float32
    assert jax.eval_shape(metric, *to(np.float16)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert jax.eval_shape(metric, *to(np.float64)).dtype == jnp.float64
        assert jax.eval_shape(metric, *data).dtype == jnp.float32


@for_every_metric
def test_no_examples_give_nan(name):
    _, compiled, data, _ = row(name, n=0)
    result = compiled(*data)
    assert jnp.isnan(result).all()


@for_every_metric
def test_low_precision_gives_what_its_numbers_give_in_float32(name):
    metric, compiled, data, _ = row(name)
    narrow = jnp.bfloat16
    low = [a.astype(narrow) if a.dtype == np.float32 else a for a in data]
    wide = [a.astype(np.float32) if a.dtype == narrow else a for a in low]
    np.testing.assert_allclose(jax.jit(metric)(*low), compiled(*wide), rtol=2e-6)


def test_low_precision_is_widened_before_anything_is_computed():
    probs, labels = classified(np.random.default_rng(0), N)
    low = jnp.asarray(probs, jnp.bfloat16)
    assert metrics.brier_score(low, labels) == metrics.brier_score(
        low.astype(jnp.float32), labels
    )


def test_metrics_remain_functions_with_their_signatures():
    for name in " ".join(METRICS).split():
        public = getattr(metrics, name)
        parameters = inspect.signature(public).parameters
        kinds = [p.kind for p in parameters.values()]
        assert inspect.isfunction(public) and public.__name__ == name
        assert kinds == sorted(kinds) and kinds[0] is inspect.Parameter.POSITIONAL_ONLY
        assert list(parameters)[-1] == "weights"


@for_every_metric
def test_weights_have_the_shape_of_the_batch(name):
    metric, _, data, _ = row(name)
    weights = np.ones(N, np.float32)
    for other in (weights[:, None], weights[None], weights[1:], np.float32(1)):
        with pytest.raises(ValueError, match=r"weights must .* shape .*\(24,\), got"):
            jax.eval_shape(partial(metric, weights=other), *data)


@for_every_metric
@pytest.mark.parametrize("wrong", [np.nan, -1.0, np.inf])
def test_a_weight_that_is_not_valid_gives_nan_at_every_place(name, wrong):
    _, metric, data, _ = row(name)
    for place in (0, N // 2, N - 1):
        weights = np.ones(N, np.float32)
        weights[place] = wrong
        assert np.isnan(metric(*data, weights=weights)).all(), place
