"""What is particular to hard concrete gates: exact zeros, gradients, and a price."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_distribution, assert_frequency, assert_mean, normal


def stretched(uniform, log_alpha):
    """The published gate before it is clipped, in float64."""
    u = np.asarray(uniform, np.float64)
    s = 1 / (1 + np.exp(-(np.log(u) - np.log(1 - u) + log_alpha) / (2 / 3)))
    return s * (1.1 - -0.1) + -0.1


def test_it_computes_the_published_formula(key):
    log_alpha = normal(40, 50)
    gates = jaxdrop.hard_concrete(key, log_alpha)
    uniform = jaxdrop.prng.uniform(key, (40, 50)) + 2**-24
    expected = np.clip(stretched(uniform, np.asarray(log_alpha, np.float64)), 0, 1)
    np.testing.assert_allclose(gates, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("log_alpha", [-3.0, 0.0, 2.0])
def test_gates_are_open_as_often_as_the_penalty_says(key, log_alpha):
    gates = jaxdrop.hard_concrete(key, jnp.full(100_000, log_alpha))
    share = float(jaxdrop.hard_concrete_penalty(jnp.full(1, log_alpha)))
    assert_frequency(gates != 0, share)
    shift = np.log(0.1 / 1.1)
    assert share == pytest.approx(
        1 / (1 + np.exp(-(log_alpha - 2 / 3 * shift))), rel=1e-5
    )
    assert_mean(gates, gates_mean(log_alpha))


def gates_mean(log_alpha):
    """The mean of the clipped gate, by quadrature over the uniform draw."""
    u = (np.arange(400_000) + 0.5) / 400_000
    return np.clip(stretched(u, log_alpha), 0, 1).mean()


def test_open_gates_are_continuous(key):
    gates = np.asarray(jaxdrop.hard_concrete(key, jnp.zeros(20_000)))
    between = gates[(gates > 0) & (gates < 1)]

    def cdf(z):
        at = lambda z: 1 / (1 + ((1.1 - z) / (z + 0.1)) ** (2 / 3))
        return (at(z) - at(0.0)) / (at(1.0) - at(0.0))

    assert_distribution(between, cdf)


def test_evaluation_takes_the_mean_noise_traced_or_not(key):
    log_alpha = jnp.linspace(-6, 6, 25)
    sigmoid = 1 / (1 + np.exp(-np.asarray(log_alpha, np.float64)))
    expected = np.clip(sigmoid * 1.2 - 0.1, 0, 1)
    run = lambda flag: jaxdrop.hard_concrete(key, log_alpha, deterministic=flag)
    np.testing.assert_allclose(run(True), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(run)(True), run(True), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(jax.jit(run)(False), run(False), rtol=1e-5, atol=1e-7)


def test_gradients_are_those_of_finite_differences_and_finite_far_out(key):
    with jax.enable_x64(True):
        loss = lambda log_alpha: jaxdrop.hard_concrete(key, log_alpha).sum()
        log_alpha = np.linspace(-2, 2, 40)
        step = 1e-6
        for direction in np.eye(40)[::13]:
            ends = (loss(log_alpha + sign * step * direction) for sign in (1, -1))
            difference = float(next(ends) - next(ends)) / (2 * step)
            along = float(jax.grad(loss)(log_alpha) @ direction)
            assert along == pytest.approx(difference, rel=1e-6, abs=1e-8)
    far = jnp.array([-500.0, 500.0])
    assert not jax.grad(lambda a: jaxdrop.hard_concrete(key, a).sum())(far).any()
    assert np.isfinite(jax.grad(jaxdrop.hard_concrete_penalty)(far)).all()


def test_half_precision_is_drawn_in_single(key):
    log_alpha = jnp.zeros(1000, jnp.bfloat16)
    gates = jaxdrop.hard_concrete(key, log_alpha)
    wide = jaxdrop.hard_concrete(key, log_alpha.astype(jnp.float32))
    np.testing.assert_array_equal(gates, wide.astype(jnp.bfloat16))


def test_rejects_a_missing_key_and_whole_numbers(key):
    with pytest.raises(ValueError, match="hard_concrete: key must be a PRNG key"):
        jaxdrop.hard_concrete(None, jnp.zeros(3))
    with pytest.raises(TypeError, match="floating"):
        jaxdrop.hard_concrete(key, jnp.zeros(3, jnp.int32))
    with pytest.raises(TypeError, match=r"^hard_concrete: log_alpha must be real"):
        jaxdrop.hard_concrete(key, jnp.zeros(3, jnp.complex64))
