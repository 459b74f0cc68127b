"""Loops around a tile: every weight is visited once, whatever the blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop._attention import _loops, _plan

PLANS = {
    "one tile": (12, 9, {"block": (16, 16)}),
    "blocks and tiles": (37, 41, {"block": (8, 4)}),
    "causal": (96, 96, {"block": (8, 8), "is_causal": True}),
    "window": (96, 90, {"block": (8, 8), "window": (5, 2)}),
}


def plan_of(queries, keys, *, block, is_causal=False, window=None):
    weights = (1, 1, queries, keys)
    return _plan.make_plan(
        weights,
        key_heads=1,
        drawn=weights,
        is_causal=is_causal,
        window=window,
        platform="cpu",
        devices=1,
        block=block,
    )


def visit(inside, tile):
    """For each query the sum of its products with keys, and how many there are."""
    length, width = tile.query.shape[1], tile.key.shape[0]
    keys = jnp.arange(width, dtype=jnp.uint32) + tile.first_key.reshape(())
    exists = keys < tile.end_key.reshape(())
    query, key = tile.query[0, :, 0], jnp.where(exists, tile.key[:, 0], 0)
    count = jnp.broadcast_to(exists.sum(), (length,)).astype(jnp.float32)
    row = tile.first_row.reshape(()) + jnp.arange(length, dtype=jnp.uint32)
    return jnp.stack([query * key.sum(), count, row.astype(jnp.float32)], -1)[None]


def merge(parts):
    return parts.sum(0).at[..., 2].set(parts[0, ..., 2])


@pytest.mark.parametrize("name", PLANS)
def test_all_keys_of_a_strip_are_summed_and_no_other(name):
    queries, keys, options = PLANS[name]
    plan = plan_of(queries, keys, **options)
    assert plan.skips == (name in ("causal", "window"))
    rng = np.random.default_rng(0)
    q, k = (rng.integers(1, 9, n).astype(np.float32) for n in (queries, keys))
    group = {
        "query": q.reshape(1, 1, 1, queries, 1),
        "key": k.reshape(1, 1, keys, 1),
        "value": k.reshape(1, 1, keys, 1),
        "first_row": np.full((1, 1), 1000, np.uint32),
    }
    run = jax.jit(functools.partial(_loops.over_keys, plan, visit, merge))
    found = np.asarray(run(group))[0, 0, 0]
    computed = np.zeros((queries, keys), bool)
    for strip in plan.strips:
        rows = slice(strip.query * plan.pane[0], (strip.query + 1) * plan.pane[0])
        end = (strip.key + strip.width) * plan.pane[1]
        computed[rows, strip.key * plan.pane[1] : end] = True
    np.testing.assert_array_equal(found[:, 0], q * (computed @ k))
    np.testing.assert_array_equal(found[:, 1], computed.sum(1))
    np.testing.assert_array_equal(found[:, 2], 1000 + np.arange(queries))


def test_steps_over_examples_and_heads_share_what_has_no_axis_of_them():
    operands = {
        "query": jnp.arange(12.0).reshape(2, 3, 2),
        "scale": jnp.full((1, 1), 10.0),
        "bias": jnp.arange(3.0).reshape(1, 3),
    }
    found = _loops.over_groups(
        lambda one: one["query"] * one["scale"] + one["bias"], operands
    )
    expected = 10 * operands["query"] + operands["bias"][..., None]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.whole
@pytest.mark.parametrize("length, limit", [(10, 4), (8, 4), (3, 8), (17, 16)])
def test_parts_are_even_and_not_longer_than_the_limit(length, limit):
    parts, size = _loops._even(length, limit)
    assert size <= limit and parts * size >= length > (parts - 1) * size
    assert parts == -(-length // limit)
