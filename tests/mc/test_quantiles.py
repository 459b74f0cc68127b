"""Quantiles: NumPy's for few samples, close to them for many."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import mc

LEVELS = (0.0, 0.05, 0.5, 0.9, 1.0)


@pytest.mark.parametrize("way", [{"chunks": 2, "junk": 2, "parts": 3}, {"chunks": 50}])
def test_few_samples_give_exact_quantiles(way, reduce):
    samples = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    reducer = mc.quantiles(LEVELS, capacity=64)
    found = reduce(reducer, samples, **way, errors=False)[0]["quantiles"]
    np.testing.assert_allclose(found, np.quantile(samples, LEVELS, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    "way",
    [{"chunks": 20, "parts": 5}, pytest.param({"chunks": 400}, marks=pytest.mark.slow)],
)
def test_many_samples_give_quantiles_of_nearly_the_level(way, reduce):
    rng = np.random.default_rng(0)
    laws = (rng.standard_normal, rng.standard_exponential, rng.standard_cauchy)
    samples = np.stack([law(20_000) for law in laws], -1).astype(np.float32)
    capacity, levels = 128, (0.05, 0.25, 0.5, 0.95)
    reducer = mc.quantiles(levels, capacity=capacity)
    found = reduce(reducer, samples, **way, errors=False)[0]["quantiles"]
    for level, values in zip(levels, found, strict=True):
        true_level = (samples <= np.asarray(values)).mean(0)
        assert (np.abs(true_level - level) < 3 / capacity).all(), (level, true_level)


def test_chunks_larger_than_the_capacity_are_taken_in_pieces(reduce):
    samples = np.arange(250, dtype=np.float32)[:, None]
    reducer = mc.quantiles((0.5,), capacity=100)
    found = reduce(reducer, samples, junk=3, errors=False)[0]["quantiles"]
    assert abs(found[0, 0] - 124.5) < 3 / 100 * 250


def test_the_error_is_the_spread_over_repetitions(reduce):
    samples = np.random.default_rng(0).normal(size=(200, 400)).astype(np.float32)
    reducer = mc.quantiles((0.2, 0.5))
    stats, errors = reduce(reducer, samples)
    seen = np.std(stats["quantiles"], axis=1, ddof=1)
    told = errors["quantiles"].mean(1)
    np.testing.assert_allclose(told, seen, rtol=0.1)


def test_equal_samples_and_infinite_ones(reduce):
    reducer = mc.quantiles((0.1, 0.5, 0.9), capacity=16)
    ends = np.repeat([-np.inf, 0.0, 1.0, 2.0, np.inf], 8)
    samples = np.stack([np.ones(40), ends], axis=1)
    found = np.asarray(reduce(reducer, samples, chunks=5, errors=False)[0]["quantiles"])
    np.testing.assert_array_equal(found[:, 0], 1)
    assert found[1, 1] == 1


def test_a_missing_sample_is_not_passed_over(reduce):
    """Whether it has been summarized or not, in whichever of two merged states."""
    samples = np.ones((40, 4), np.float32)
    for entry, place in ((1, 3), (2, 22), (3, 39)):
        samples[place, entry] = np.nan
    reducer = mc.quantiles((0.5,), capacity=8)
    found = reduce(reducer, samples, chunks=5, parts=2, errors=False)[0]["quantiles"]
    np.testing.assert_array_equal(found, [[1, np.nan, np.nan, np.nan]])


def test_unequal_states_are_merged_by_their_numbers_of_samples():
    """A state of many samples is not outweighed by one of few, nor forgotten."""
    reducer = mc.quantiles((0.5,), capacity=32)
    start = reducer.init(jax.ShapeDtypeStruct((), jnp.float32))
    append = lambda state, x: (reducer.update(state, x, jnp.ones(x.shape, bool)), None)
    fill = lambda x: jax.lax.scan(append, start, x.reshape(-1, 32))[0]

    @jax.jit
    def both(few, many):
        states = fill(few), fill(many)
        merged = [reducer.merge(*pair) for pair in (states, states[::-1])]
        return [(reducer.finalize(m), reducer.stderr(m)) for m in merged]

    few, many = np.linspace(0, 1, 96), np.linspace(1, 2, 896)
    level_error = np.sqrt(0.25 / 992)  # of the median; the density is 0.9 there
    for stats, errors in jax.device_get(both(np.float32(few), np.float32(many))):
        median = np.quantile(np.concatenate([few, many]), 0.5)
        assert abs(float(stats["quantiles"][0]) - median) < 3 / 32
        ratio = float(errors["quantiles"][0]) / (level_error / 0.9)
        assert 0.3 < ratio < 2


def test_one_sample_is_all_its_quantiles_and_has_no_error(reduce):
    reducer = mc.quantiles()
    stats, errors = reduce(reducer, np.full((1, 2), 3.0, np.float32))
    np.testing.assert_array_equal(stats["quantiles"], 3)
    assert np.isnan(errors["quantiles"]).all()


def test_levels_are_checked():
    with pytest.raises(ValueError, match=r"levels must be in \[0, 1\], got \(5, 95\)"):
        mc.quantiles((5, 95))
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        mc.quantiles(capacity=0)


def test_traced_levels_are_named():
    with pytest.raises(TypeError, match="levels are static"):
        jax.jit(mc.quantiles)(jnp.array([0.5]))


def test_the_ends_have_no_error(reduce):
    samples = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found, errors = reduce(mc.quantiles((0, 0.5, 1)), samples)
    lowest, _, highest = found["quantiles"]
    np.testing.assert_allclose(lowest, samples.min(0))
    np.testing.assert_allclose(highest, samples.max(0))
    of_lowest, of_median, of_highest = errors["quantiles"]
    assert np.isnan(of_lowest).all() and np.isnan(of_highest).all()
    assert (of_median > 0).all()


@pytest.mark.whole
@pytest.mark.parametrize("levels", [0.5, "0.5", ((0.1, 0.9),), ()])
def test_levels_are_a_sequence_of_numbers(levels):
    with pytest.raises(TypeError, match="levels must be a"):
        mc.quantiles(levels)


def test_outputs_without_entries_have_quantiles_without_entries(key):
    draw = lambda key: jax.random.normal(key, (3, 0))
    run = functools.partial(mc.predict, num_samples=4, reducers=mc.quantiles())
    result = jax.jit(run, static_argnums=0)(draw, key)
    assert result.stats["quantiles"].shape == (3, 3, 0)


@pytest.mark.whole
@pytest.mark.parametrize("levels", [[[0.5], [1, 2]], {0.5}, [1j], np.array([0.5j])])
def test_levels_are_real_numbers_in_order(levels):
    with pytest.raises(TypeError, match="levels must be a"):
        mc.quantiles(levels)
