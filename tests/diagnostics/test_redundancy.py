"""Co-adaptation and effective rank against NumPy, and at their extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from at_once import at_once
from chance import normal
from jaxdrop import diagnostics

co_adaptation = at_once(diagnostics.co_adaptation)
effective_rank = at_once(diagnostics.effective_rank)


def numpy_co_adaptation(x):
    correlation = np.corrcoef(np.asarray(x, np.float64), rowvar=False)
    n = len(correlation)
    return (np.abs(correlation).sum() - n) / (n * (n - 1))


def test_co_adaptation_is_the_mean_modulus_of_correlations():
    x = jnp.asarray(np.asarray(normal(200, 6)) @ normal(6, 6, seed=1) + 3)
    measure = jax.jit(diagnostics.co_adaptation)
    np.testing.assert_allclose(measure(x), numpy_co_adaptation(x), rtol=1e-5)
    as_maps = jnp.asarray(np.reshape(x, (10, 20, 6)))
    np.testing.assert_allclose(measure(as_maps), numpy_co_adaptation(x), rtol=1e-5)
    maps_first = jnp.asarray(np.moveaxis(as_maps, -1, 0))
    first = co_adaptation(maps_first, axis=0)
    np.testing.assert_allclose(first, numpy_co_adaptation(x), rtol=1e-5)


def test_copies_are_fully_co_adapted_and_constants_do_not_count():
    x = np.asarray(normal(300))
    constant = np.full(300, 0.1, np.float32)
    copies = jnp.asarray(np.stack([x, -2 * x + 5, constant, 3 * x], axis=-1))
    np.testing.assert_allclose(co_adaptation(copies), 1.0, rtol=1e-5)
    alone = jnp.asarray(np.stack([x, constant, constant], axis=-1))
    assert np.isnan(co_adaptation(alone))
    assert np.isnan(co_adaptation(jnp.zeros((0, 3))))


def test_co_adaptation_of_half_precision_is_computed_in_float32():
    x = jnp.asarray(normal(4000, 3), jnp.bfloat16)
    value = co_adaptation(x)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, numpy_co_adaptation(x), rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 3e38])
@pytest.mark.parametrize("place", [jnp.asarray, np.float32, np.float64])
def test_co_adaptation_has_no_scale(scale, place):
    x = np.asarray(normal(200, 3) @ normal(3, 3, seed=1))
    x = x / np.abs(x).max()
    value = diagnostics.co_adaptation(place(np.float32(scale) * x))
    np.testing.assert_allclose(value, numpy_co_adaptation(x), rtol=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_equal_directions_count_in_full(rank):
    q, _ = np.linalg.qr(normal(20, 8))
    matrix = jnp.asarray(q[:, :rank] @ np.eye(rank, 8, dtype=np.float32))
    np.testing.assert_allclose(effective_rank(matrix), rank, rtol=1e-4)
    np.testing.assert_allclose(effective_rank(matrix.T, axis=0), rank, rtol=1e-4)


def test_effective_rank_is_the_published_formula():
    x = jnp.asarray(normal(30, 7) * np.linspace(0.1, 2, 7, dtype=np.float32)[None])
    values = np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)
    share = values / values.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    np.testing.assert_allclose(
        jax.jit(diagnostics.effective_rank)(x), expected, rtol=1e-5
    )
    maps = jnp.asarray(np.reshape(x, (5, 6, 7)))
    np.testing.assert_allclose(effective_rank(maps), expected, rtol=1e-5)


def test_nothing_has_no_rank():
    assert effective_rank(jnp.zeros((4, 3))) == 0


def test_nan_in_is_nan_out():
    x = np.array(normal(20, 4))
    measure = jax.jit(
        lambda x: (diagnostics.effective_rank(x), diagnostics.co_adaptation(x))
    )
    for bad in (np.nan, np.inf):
        x[3, 1] = bad
        assert np.isnan(measure(x)).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 3e38])
def test_the_rank_has_no_scale(scale):
    assert effective_rank(jnp.asarray(np.eye(4) * scale, jnp.float32)) == pytest.approx(
        4, rel=1e-5
    )


def test_numpy_units_that_float32_makes_constant_vary():
    x = np.random.default_rng(0).normal(size=(50, 1))
    opposite = 1e9 + np.concatenate([x, -x], axis=1)
    assert co_adaptation(opposite) == pytest.approx(1, rel=1e-5)


def test_co_adaptation_of_complex_activations():
    x = np.asarray(normal(200, 4)) + 1j * np.asarray(normal(200, 4, seed=1))
    x[:, 1] = 1j * x[:, 0]
    apart = x - x.mean(0)
    apart /= np.linalg.norm(apart, axis=0)
    expected = (np.abs(apart.conj().T @ apart).sum() - 4) / 12
    measured = co_adaptation(jnp.asarray(x, jnp.complex64))
    assert measured.dtype == jnp.float32
    np.testing.assert_allclose(measured, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "measure", [diagnostics.co_adaptation, diagnostics.effective_rank]
)
@pytest.mark.parametrize("spec", [P("m"), P(None, "m")], ids=str)
def test_activities_may_be_spread_over_an_explicit_mesh(measure, spec):
    x = normal(8, 4)
    mesh = jax.make_mesh((2,), ("m",), axis_types=(AxisType.Explicit,))
    spread = jax.device_put(x, NamedSharding(mesh, spec))
    run = jax.jit(measure)
    np.testing.assert_allclose(run(spread), run(x), rtol=1e-5)


def test_the_rank_of_many_examples_needs_memory_for_each_once():
    """By default JAX makes room for as many left vectors as there are examples."""
    x = jnp.zeros((300_000, 2)).at[:2].set(jnp.eye(2))
    assert effective_rank(x) == pytest.approx(2)
