"""Metrics as compiled programs: what enters them, and what is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import metrics

N, C = 24, 4


def classified(rng, n):
    probs = rng.dirichlet(np.ones(C), n).astype(np.float32)
    return probs, rng.integers(0, C, n)


@pytest.mark.parametrize("value", [None, "abc", ["a", "b"], np.array(["a"])])
def test_what_is_no_array_of_numbers_is_named(value):
    scores, labels = np.float32([0.2, 0.7]), np.array([0, 1])
    probs = np.stack([scores, 1 - scores], -1)
    refused = lambda name: pytest.raises(
        TypeError, match=rf"^\w+: {name} must be an array of numbers, got "
    )
    with refused("probs"):
        metrics.expected_calibration_error(value, labels)
    with refused("labels"):
        metrics.classwise_calibration_error(probs, value)
    with refused("scores"):
        metrics.auroc(value, labels)
    with refused("labels"):
        metrics.fpr_at_tpr(scores, value)
    with refused("samples"):
        metrics.crps_samples(value, labels)
    with refused("lower"):
        metrics.winkler_score(value, scores, scores, alpha=0.5)
    if value is None:
        given = metrics.brier_score(probs, labels, weights=None)
        assert given == metrics.brier_score(probs, labels)
        return
    with refused("weights"):
        metrics.brier_score(probs, labels, weights=value)
    with refused("weights"):
        metrics.pinball_loss(scores, scores, level=0.5, weights=value)


def test_static_arguments_are_python_values():
    probs, labels = classified(np.random.default_rng(0), N)
    for num_bins in (jnp.int32(10), np.array(10), [10]):
        with pytest.raises(TypeError, match=r"num_bins is static.* Python .*, got"):
            metrics.expected_calibration_error(probs, labels, num_bins=num_bins)
    with pytest.raises(TypeError, match=r"adaptive .*, got .*True"):
        metrics.classwise_calibration_error(probs, labels, adaptive=jnp.array(True))
    with pytest.raises(TypeError, match=r"axis is static.*, got .*0"):
        metrics.crps_samples(probs, labels, axis=jnp.int32(0))
    with pytest.raises(TypeError, match=r"num_bins is static.*, got .*JitTracer"):
        jax.jit(
            lambda n: metrics.expected_calibration_error(probs, labels, num_bins=n)
        )(10)


def test_lists_of_numbers_are_arrays():
    assert metrics.auroc([0.2, 0.7], [0, 1]) == 1
    assert metrics.brier_score([[1.0, 0.0]], [0], weights=[2.0]) == 0
