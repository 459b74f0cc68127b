"""What is planned before anything is traced: nothing missed, nothing done twice."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from jaxdrop._attention import _plan

VIEWS = [
    (queries, keys, is_causal, window)
    for queries, keys in ((96, 96), (70, 41), (33, 90), (1, 50), (50, 1))
    for is_causal in (False, True)
    for window in (None, (0, 0), (5, 0), (3, 9), (40, 2))
]


def plan_of(queries, keys, is_causal=False, window=None, block=(8, 8), heads=1):
    weights = (1, heads, queries, keys)
    return _plan.make_plan(
        weights,
        key_heads=heads,
        drawn=weights,
        is_causal=is_causal,
        window=window,
        platform="cpu",
        devices=1,
        block=block,
    )


@pytest.mark.whole
@pytest.mark.parametrize("queries, keys, is_causal, window", VIEWS)
def test_every_key_that_a_query_sees_is_in_its_strip(queries, keys, is_causal, window):
    plan = plan_of(queries, keys, is_causal, window)
    computed = np.zeros(np.multiply(plan.grid, plan.pane), int)
    for strip in plan.strips:
        rows = slice(strip.query * plan.pane[0], (strip.query + 1) * plan.pane[0])
        end = (strip.key + strip.width) * plan.pane[1]
        computed[rows, strip.key * plan.pane[1] : end] += 1
    assert computed.max() == 1
    assert [strip for run in plan.runs for strip in run] == list(plan.strips)

    query, key = np.arange(queries)[:, None], np.arange(keys)[None]
    seen = np.ones((queries, keys), bool)
    if is_causal:
        seen &= key <= query
    if window is not None:
        seen &= (key >= query - window[0]) & (key <= query + window[1])
    seen[~seen.any(axis=1)] = True  # sees nothing: attends to everything alike
    assert computed[:queries, :keys][seen].all()


def share(plan):
    """Of all weights, how many are computed."""
    return panes(plan) * np.prod(plan.pane) / (plan.queries * plan.keys)


def panes(plan):
    return sum(strip.width for strip in plan.strips)


def test_what_nobody_sees_is_skipped():
    automatic = (None, None)
    assert share(plan_of(2048, 2048, block=automatic)) == 1
    assert share(plan_of(2048, 2048, True, block=automatic)) <= 0.625
    assert share(plan_of(8192, 8192, True, block=automatic)) <= 0.625
    for length in (8192, 65536):
        plan = plan_of(length, length, True, (256, 256), block=automatic)
        assert share(plan) * length <= 4 * 256 + 32  # linear in the length
        assert panes(plan) * plan.pane[0] <= 3 * length  # copies of the keys
        assert len(plan.runs) <= 3  # programs


def test_blocks_fit_what_is_held_at_once():
    limit = _plan._TILE_ENTRIES["cpu"]
    for queries, keys in ((128, 128), (2048, 2048), (300, 70000), (131072, 131072)):
        plan = plan_of(queries, keys, block=(None, None), heads=8)
        assert np.prod(plan.at_once) * np.prod(plan.tile) <= limit
        assert min(plan.tile) >= 16


@pytest.mark.whole
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("group", [1, 4, 8])
def test_groups_of_heads_fit_what_is_held_at_once(group, platform):
    """The query heads of a key head are computed together, and count together."""
    weights = (4, 8, 4096, 4096)
    plan = _plan.make_plan(
        weights,
        key_heads=8 // group,
        drawn=weights,
        is_causal=False,
        window=None,
        platform=platform,
        devices=1,
    )
    held = np.prod(plan.at_once) * plan.group * np.prod(plan.tile)
    assert plan.group == group and plan.tile[0] >= 16
    assert held <= _plan._TILE_ENTRIES[platform]
    assert held > _plan._TILE_ENTRIES[platform] / 4


def test_blocks_of_narrow_strips_are_longer_unless_they_are_given():
    given = plan_of(2048, 2048, True, block=(128, None))
    chosen = plan_of(2048, 2048, True, block=(None, None))
    for strip in chosen.strips:
        keys = strip.width * chosen.pane[1]
        assert given.tile_of(512, keys) == (128, keys)
        length, width = chosen.tile_of(512, keys)
        assert width == keys and length * keys <= np.prod(chosen.tile)
    assert chosen.tile_of(512, 512)[0] > chosen.tile_of(512, 2048)[0]


def test_few_programs_are_compiled():
    """Strips of few widths may still be many runs."""
    plan = plan_of(10240, 5120, False, (1536, 512), block=(None, None))
    assert len(plan.runs) <= _plan._MOST_RUNS


@pytest.mark.parametrize("reach", [2**32 - 1, 2**32, 2**63])
def test_a_window_beyond_all_keys_is_none(key, reach):
    x = jnp.cos(jnp.arange(96.0)).reshape(1, 12, 2, 4)
    attend = functools.partial(
        jaxdrop.dot_product_attention, key, x, x, x, rate=0.3, is_causal=True
    )
    np.testing.assert_array_equal(attend(local_window_size=reach), attend())


def test_rows_keep_whole_what_devices_may_share():
    plan = _plan.make_plan(
        (12, 6, 4096, 4096),
        key_heads=2,
        drawn=(12, 6, 4096, 4096),
        is_causal=False,
        window=None,
        platform="cpu",
        devices=8,
    )
    assert plan.at_once == (4, 2) and plan.steps == (3, 1)


def temporary_bytes(attend, length, heads=1):
    """What a training step holds besides inputs and outputs; compiled only."""
    shape = jax.ShapeDtypeStruct((1, length, heads, 64), jnp.float32)

    def loss(key, *arrays):
        return attend(key, *arrays).sum()

    run = jax.jit(jax.grad(loss, argnums=(1, 2, 3)))
    key = jax.eval_shape(jax.random.key, 0)
    compiled = run.lower(key, shape, shape, shape).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    "is_causal", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_memory_is_linear_in_the_length_of_sequences(monkeypatch, is_causal):
    lengths = (1024, 4096, 16384)  # the last in tiles of keys
    monkeypatch.setattr(jax, "device_count", lambda: 1)

    def attend(key, *arrays):
        return jaxdrop.dot_product_attention(
            key, *arrays, rate=0.1, is_causal=is_causal
        )

    held = [temporary_bytes(attend, length) for length in lengths]
    for i in range(1, len(lengths)):
        assert held[i] <= 1.35 * held[i - 1] * lengths[i] / lengths[i - 1]
    assert held[-1] <= 4 * lengths[-1] ** 2 / 4  # a quarter of one matrix of weights


def test_memory_is_a_twentieth_of_holding_the_weights(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)

    def ours(key, *arrays):
        return jaxdrop.dot_product_attention(key, *arrays, rate=0.1)

    def flaxs(key, *arrays):
        return nnx.dot_product_attention(
            *arrays, dropout_rng=key, dropout_rate=0.1, broadcast_dropout=False
        )

    assert temporary_bytes(ours, 2048, 8) <= temporary_bytes(flaxs, 2048, 8) / 20


@pytest.mark.slow
def test_heads_share_what_is_held_for_one_of_them(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)

    def attend(key, *arrays):
        return jaxdrop.dot_product_attention(key, *arrays, rate=0.1, is_causal=True)

    two, four = (temporary_bytes(attend, 2048, heads) for heads in (2, 4))
    each = 4 * 2048 * 64  # bytes of the queries of a head
    assert (four - two) / 2 <= 6 * each
