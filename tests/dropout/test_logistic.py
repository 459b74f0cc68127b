"""Logistic noise: its law, and its ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from chance import assert_distribution
from jaxdrop import prng
from jaxdrop._dropout._logistic import logistic


def test_it_is_the_logit_of_the_uniform_numbers_of_its_key(key):
    noise = logistic(key, (20_000,), dtype=jnp.float32)
    uniform = np.asarray(prng.uniform(key, (20_000,)), np.float64) + 2**-24
    np.testing.assert_allclose(noise, special.logit(uniform), rtol=1e-5, atol=1e-6)
    assert_distribution(noise, stats.logistic.cdf)


@pytest.mark.parametrize("draw", [0.0, 1 - 2.0**-23])
def test_the_ends_of_the_uniform_numbers_are_finite_and_symmetric(draw, monkeypatch):
    monkeypatch.setattr(prng, "uniform", lambda key, shape, **_: jnp.full(shape, draw))
    noise = float(logistic(jax.random.key(0), (), dtype=jnp.float32))
    assert abs(noise) == pytest.approx(np.log(2**24 - 1), rel=1e-6)
    assert (noise < 0) == (draw == 0)


def test_in_float64_it_has_the_same_bits_and_more_digits(key):
    with jax.enable_x64(True):
        wide = logistic(key, (100,), dtype=jnp.float64)
    assert wide.dtype == np.float64
    narrow = logistic(key, (100,), dtype=jnp.float32)
    np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1e-6)
