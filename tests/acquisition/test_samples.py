"""Samples of logits: moved, short, impossible, diverged, or of wrong shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisition.cases import logits

from at_once import at_once
from jaxdrop import acquisition, mc

SCORES = [
    *(acquisition.bald, acquisition.max_entropy, acquisition.variation_ratio),
    acquisition.margin,
]


@pytest.mark.parametrize("score", SCORES)
def test_logits_may_be_moved_and_short(score):
    """Far beyond where their exponentials end, and in half precision."""
    samples = np.round(logits(20, 7, 4) * 16) / 16  # exact when moved, and in halves
    expected = score(samples)
    np.testing.assert_allclose(score(jnp.asarray(samples + 8192)), expected, atol=2e-6)
    np.testing.assert_allclose(score(jnp.asarray(samples - 8192)), expected, atol=2e-6)
    short = score(jnp.asarray(samples, jnp.float16))
    assert short.dtype == jnp.float32
    np.testing.assert_allclose(short, expected, atol=1e-6)


def test_impossible_classes_are_no_trouble():
    samples = logits(10, 5, 3)
    samples[:, :, 2] = -np.inf
    without = samples[:, :, :2]
    scores = (acquisition.bald, acquisition.max_entropy, acquisition.margin)
    every = at_once(
        lambda given: (
            [score(given) for score in scores],
            acquisition.batch_bald(None, given, num_points=3),
        )
    )
    (found, chosen), (possible, expected) = every(samples), every(without)
    np.testing.assert_allclose(found, possible, atol=1e-6)
    np.testing.assert_array_equal(chosen.indices, expected.indices)
    np.testing.assert_allclose(chosen.gains, expected.gains, atol=1e-5)


def test_what_diverged_is_neither_certain_nor_the_best_choice():
    samples = logits(5, 4, 3)
    samples[1, 2, 0] = np.nan
    names = ("bald", "margin", "max_entropy", "variation_ratio")
    targets = logits(5, 2, 3, seed=1)
    scores = at_once(
        lambda given: {
            "epig": acquisition.epig(given, targets),
            **{name: getattr(acquisition, name)(given) for name in names},
        }
    )(samples)
    for name, score in scores.items():
        np.testing.assert_array_equal(np.isnan(score), np.arange(4) == 2, name)
    assert np.isnan(acquisition.batch_bald(None, samples, num_points=2).gains).all()


def test_pools_need_not_divide_into_equal_parts():
    samples = logits(5, 130, 3)
    scores = acquisition.epig(samples, samples[:, :2])
    np.testing.assert_allclose(
        scores[100:], acquisition.epig(samples[:, 100:], samples[:, :2]), atol=1e-6
    )


def test_samples_of_shared_draws_are_what_is_scored(key):
    def apply(key, x):
        return x @ jax.random.normal(key, (2, 3))

    pool = logits(9, 2, 1)[:, :, 0]
    drawn = {"num_samples": 32, "draws": "shared"}
    samples, stats = at_once(
        lambda pool: (
            mc.samples(apply, key, pool, **drawn),
            mc.predict(apply, key, pool, reducers="classification", **drawn).stats,
        )
    )(pool)
    np.testing.assert_allclose(
        acquisition.bald(samples), stats["mutual_information"], atol=1e-6
    )
    chosen = acquisition.batch_bald(key, samples, num_points=3)
    assert len(set(chosen.indices.tolist())) == 3


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"must be \(samples, points, classes\)"):
        acquisition.bald(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="the same samples, got 3 and 4"):
        acquisition.epig(np.zeros((3, 2, 2)), np.zeros((4, 2, 2)))
    with pytest.raises(TypeError, match="logits must hold real numbers"):
        acquisition.margin(np.zeros((3, 2, 2), complex))
