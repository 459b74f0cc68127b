"""One tile of weights: its positions in the mask, and sums of several."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._attention import _plan, _tiles


def test_positions_beyond_one_word_are_those_of_python():
    """The mask of weights that no machine holds: 2**45 of them, and its last tile."""
    shape = (2048, 16, 32768, 32768)
    plan = _plan.Plan(
        batch=2048,
        key_heads=8,
        group=2,
        queries=32768,
        keys=32768,
        drawn=shape,
        is_causal=False,
        window=None,
        at_once=(1, 1),
        pane=(32768, 32768),
        strips=(_plan.Strip(0, 0, 1),),
        tile=(16, 32),
    )
    example, key_head, first_query, first_key = 2047, 7, 32760, 32736
    tile = _tiles.Tile(
        query=jnp.zeros((2, 8, 4)),
        key=jnp.zeros((32, 4)),
        value=jnp.zeros((32, 4)),
        first_row=jnp.uint32(((example * 16 + 2 * key_head) * 32768) + first_query),
        first_query=jnp.uint32(first_query),
        first_key=jnp.uint32(first_key),
        end_key=jnp.uint32(32768),
    )
    high, low = (np.asarray(word, object) for word in _tiles.counters_of(plan, tile))
    for group, query, key in np.ndindex(2, 8, 32):
        place = (example, 2 * key_head + group, first_query + query, first_key + key)
        position = np.ravel_multi_index(place, shape)
        assert (
            int(high[group, query, key]) << 32 | int(low[group, query, key]) == position
        )


def test_sums_of_tiles_are_merged_relative_to_the_largest_logit():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)  # tiles, heads, queries
    logits[1] += 200  # whose exponential overflows float32
    logits[2, :, 1] = -np.inf
    values = rng.normal(size=(3, 5, 6)).astype(np.float32)
    top = np.maximum(logits.max(-1), np.finfo(np.float32).min)
    weights = np.exp(logits - top[..., None])
    parts = _tiles.Sums(
        np.einsum("thqk,tkf->thqf", weights, values), weights.sum(-1), top
    )
    found = _tiles.merge(jax.tree.map(jnp.asarray, parts))
    highest = logits.max((0, -1))
    whole = np.exp(logits.astype(np.float64) - highest[None, ..., None])
    np.testing.assert_array_equal(found.top, highest)
    np.testing.assert_allclose(found.weights, whole.sum((0, -1)), rtol=1e-5)
    expected = np.einsum("thqk,tkf->hqf", whole, values)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    alone = _tiles.Sums(*(jnp.asarray(x[:1]) for x in parts))
    np.testing.assert_array_equal(_tiles.merge(alone).values, parts.values[0])
