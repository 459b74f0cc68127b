"""Scores of single points against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
from acquisition.cases import logits, probabilities
from scipy import special

from jaxdrop import acquisition


def test_scores_of_single_points_are_those_of_predict():
    samples = logits(20, 7, 4)
    p = probabilities(samples)
    total = special.entr(p.mean(0)).sum(-1)
    information = total - special.entr(p).sum(-1).mean(0)
    ranked = np.sort(p.mean(0), -1)
    votes = [np.bincount(v, minlength=4).max() for v in p.argmax(-1).T]
    expected = {
        acquisition.bald: information,
        acquisition.max_entropy: total,
        acquisition.variation_ratio: 1 - np.array(votes) / 20,
        acquisition.margin: 1 - (ranked[:, -1] - ranked[:, -2]),
    }
    every = jax.jit(lambda given: [score(given) for score in expected])
    for given in (samples, np.log(p).astype(np.float32)):
        found = every(given)
        np.testing.assert_allclose(found, [*expected.values()], atol=1e-6)


def test_agreement_is_worth_nothing_and_never_less():
    samples = jnp.asarray(np.stack([logits(1, 10_000, 5, scale=3.0)[0]] * 7))
    information = acquisition.bald(samples)
    assert (information >= 0).all() and (information < 1e-6).all()


def test_bald_tells_disagreement_from_doubt():
    disagreement = np.float32([[50, 0], [0, 50]])
    both = np.stack([disagreement, np.zeros((2, 2), np.float32)], axis=1)
    np.testing.assert_allclose(acquisition.bald(both), [np.log(2), 0], atol=1e-6)
    np.testing.assert_allclose(acquisition.max_entropy(both), np.log(2), atol=1e-6)
