"""The jackknife of groups of any sizes: Busing's formula, and which group is whose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_once import at_once
from jaxdrop.mc._jackknife import (
    Groups,
    deal,
    jackknife_errors,
    merge_groups,
    no_groups,
)


def published(samples, groups, statistic):
    """The delete-m jackknife for unequal m, equations 4 to 6 of Busing et al."""
    n, whole = len(samples), statistic(samples.mean(0))
    rest = [statistic(np.delete(samples, g, axis=0).mean(0)) for g in groups]
    sizes = [len(g) for g in groups]
    estimate = len(groups) * whole - sum(
        (1 - m / n) * r for m, r in zip(sizes, rest, strict=True)
    )
    terms = []
    for m, r in zip(sizes, rest, strict=True):
        h = n / m
        pseudo = h * whole - (h - 1) * r
        terms.append((pseudo - estimate) ** 2 / (h - 1))
    return np.sqrt(np.mean(terms, axis=0))


@pytest.mark.parametrize("sizes", [(3, 3, 3), (1, 7, 2, 5), (4, 0, 1, 6, 0), (9, 1)])
def test_errors_are_those_of_the_published_formula(sizes):
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 0.3, (sum(sizes), 2))
    ends = np.cumsum(sizes)
    places = [np.arange(e - m, e) for m, e in zip(sizes, ends, strict=True)]
    sums = np.stack([samples[p].sum(0) for p in places]).astype(np.float32)
    groups = Groups(jnp.asarray(sizes, jnp.int32), jnp.asarray(sums))
    found = jax.jit(jackknife_errors, static_argnums=1)(
        groups, lambda m: {"log": jnp.log(m), "mean": m}
    )
    filled = [p for p in places if p.size]
    for name, statistic in (("log", np.log), ("mean", lambda m: m)):
        expected = published(samples, filled, statistic)
        np.testing.assert_allclose(found[name], expected, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("sizes", [(5,), (0, 6), (0, 0)])
def test_one_group_has_no_error(sizes):
    sums = jnp.asarray(sizes, jnp.float32)
    groups = Groups(jnp.asarray(sizes, jnp.int32), sums)
    found = jax.jit(jackknife_errors, static_argnums=1)(groups, lambda m: {"mean": m})
    assert np.isnan(found["mean"])


def test_the_group_of_a_sample_is_known_from_its_number():
    """However samples come: at once, in chunks, or from states that are merged."""
    powers = jnp.asarray(2.0 ** np.arange(11), jnp.float32)  # every sum tells its terms
    everything = jnp.ones(11, bool)

    def dealt(start, stop, first=0):
        empty = no_groups(4, jnp.zeros(()))
        x, valid = powers[start:stop], everything[start:stop]
        return deal(empty, jnp.int32(start - first), x, valid)

    @at_once
    def in_three_ways():
        chunked = deal(dealt(0, 5), jnp.int32(5), powers[5:], everything[5:])
        merged = merge_groups(dealt(0, 5), dealt(5, 11, first=5), jnp.int32(5))
        return dealt(0, 11), chunked, merged

    whole, *others = in_three_ways()
    np.testing.assert_array_equal(whole.number, [3, 3, 3, 2])
    expected = [sum(2.0**i for i in range(g, 11, 4)) for g in range(4)]
    np.testing.assert_array_equal(whole.sums, expected)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, other, whole)


def test_no_groups_are_merged_with_no_groups():
    none = no_groups(0, {"x": jnp.zeros(())})
    assert merge_groups(none, none, jnp.int32(0)) is none
