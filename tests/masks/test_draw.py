"""Drawing masks: their statistics, what they depend on, and where they are held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

import jaxdrop
from chance import (
    assert_count,
    assert_frequency,
    assert_uncorrelated,
    assert_uniform_counts,
    normal,
)
from jaxdrop import masks

HELD = (96, 64)  # large enough to be drawn into memory on a CPU


MANY = pytest.mark.usefixtures("optimized")
"""Draws so many entries that it runs for longer than it compiles."""


@jax.jit
def dropped(key, rate):
    return jnp.sum(~masks.bernoulli(key, (2**20,), rate=rate), dtype=jnp.int32)


@MANY
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_entries_are_dropped_at_the_rate(rate):
    counts = [int(dropped(jax.random.key(seed), rate)) for seed in range(10)]
    for count in counts:
        assert_count(count, 2**20, rate)
    assert_count(sum(counts), 10 * 2**20, rate, p_value=1e-9)


@MANY
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float64])
def test_a_narrow_rate_is_realised_at_the_value_it_stores(key, dtype):
    rate = dtype(0.003) if dtype is np.float64 else jnp.asarray(0.003, dtype)
    assert_count(int(dropped(key, rate)), 2**20, float(rate))


@MANY
def test_a_tiny_rate_drops_as_rarely_as_it_says(key):
    keys = jax.random.split(key, 64)
    count = int(jnp.sum(jax.lax.map(lambda k: dropped(k, 1e-6), keys)))
    realized = 1 - np.ceil(np.float32(1 - 1e-6) * 2.0**23) / 2**23
    assert_count(count, 64 * 2**20, realized)
    assert realized == pytest.approx(1e-6, abs=2**-23)


def test_rows_and_columns_drop_alike(key):
    keys = jax.random.split(key, 256)
    table = jax.vmap(lambda k: masks.bernoulli(k, (1024,), rate=0.3))(keys)
    for axis in (0, 1):
        counts = np.asarray(table.sum(axis))
        n = table.shape[axis]
        square = ((counts - 0.7 * n) ** 2 / (n * 0.21)).sum()
        assert stats.chi2(counts.size).sf(square) > 1e-6


@pytest.mark.parametrize("keys", ["split", "seeds", "folded"])
def test_masks_of_related_keys_and_of_neighbours_are_independent(key, keys):
    keys = {
        "split": jax.random.split(key, 256),
        "seeds": jax.vmap(jax.random.key)(jnp.arange(256)),
        "folded": jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(256)),
    }[keys]
    table = np.asarray(jax.vmap(lambda k: masks.bernoulli(k, (1024,), rate=0.3))(keys))
    for lag in range(1, 9):
        assert_uncorrelated(table[:, lag:], table[:, :-lag])
    assert_uncorrelated(table[1:], table[:-1])
    z = np.corrcoef(table[:40].astype(float)) * np.sqrt(1024)
    assert np.abs(z[~np.eye(40, dtype=bool)]).max() < 5.5


@MANY
def test_packed_masks_pass_the_tests_of_a_bit_stream(key):
    bits = np.asarray(masks.bernoulli(key, (2**23,), rate=0.5)).astype(np.int64)
    assert_count(int(bits.sum()), bits.size, 0.5)
    runs = 1 + int((bits[1:] != bits[:-1]).sum())
    assert_count(runs - 1, bits.size - 1, 0.5)
    blocks = bits.reshape(-1, 128).sum(1)
    square = ((blocks - 64) ** 2 / 32).sum()
    assert 1e-6 < stats.chi2(blocks.size).sf(square) < 1 - 1e-6
    pairs = np.bincount(bits.reshape(-1, 2) @ [2, 1], minlength=4)
    assert_uniform_counts(pairs)
    octets = np.bincount(np.packbits(bits.astype(bool)), minlength=256)
    assert_uniform_counts(octets)


def test_runs_of_drops_have_geometric_lengths(key):
    drops = ~np.asarray(masks.bernoulli(key, (2**20,), rate=0.3))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], drops, [False]])))
    lengths = edges[1::2] - edges[::2]
    observed = np.bincount(np.minimum(lengths, 8), minlength=9)[1:]
    expected = lengths.size * np.array([0.7 * 0.3**i for i in range(7)] + [0.3**7])
    assert stats.chisquare(observed, expected).pvalue > 1e-6


@pytest.mark.parametrize("keep", [0.0, 0.25, 0.7, 1.0])
def test_the_threshold_is_exact_to_the_last_of_its_23_bits(keep):
    threshold = int(np.ceil(np.float32(keep) * 2.0**23))
    words = [w for w in (threshold - 1, threshold) if 0 <= w < 2**23]
    bits = jnp.asarray(np.array(words, np.uint32) << 9 | 511)
    kept = masks.survives(bits, keep=keep)
    np.testing.assert_array_equal(kept, np.array(words) < threshold)


def test_the_probability_of_keeping_follows_rate_and_mode():
    assert masks.keep_probability(0.3) == 1 - 0.3
    assert masks.keep_probability(0.3, deterministic=True) == 1
    traced = jax.jit(lambda d, r: masks.keep_probability(r, deterministic=d))
    assert traced(True, 0.3) == 1 and traced(False, 0.3) == 1 - jnp.float32(0.3)
    assert traced(True, jnp.nan) == 1 and jnp.isnan(traced(False, -1e-9))


def test_neither_x64_nor_numpy_change_a_mask(key):
    mask = masks.bernoulli(key, HELD, rate=0.1)
    for rate in (np.float64(0.1), np.asarray(0.1)):
        np.testing.assert_array_equal(masks.bernoulli(key, HELD, rate=rate), mask)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(masks.bernoulli(key, HELD, rate=0.1), mask)


def test_a_mask_keeps_its_prefix_and_its_reshapes(key):
    long = masks.bernoulli(key, (8192,), rate=0.3)
    np.testing.assert_array_equal(masks.bernoulli(key, (100,), rate=0.3), long[:100])
    square = masks.bernoulli(key, (128, 64), rate=0.3)
    np.testing.assert_array_equal(square.ravel(), long)


def test_rates_of_features_are_realised_one_by_one(key):
    rates = np.linspace(0.1, 0.9, 9)
    mask = masks.bernoulli(key, (20_000, 9), rate=rates)
    for column, rate in zip(np.asarray(mask).T, rates, strict=True):
        assert_frequency(~column, rate)


def test_a_rate_that_varies_along_a_shared_axis_shares_the_bits(key):
    rates = jnp.array([[0.2], [0.8]])
    mask = masks.bernoulli(key, (2, 500), rate=rates, broadcast_dims=(0,))
    assert mask.shape == (2, 500)
    assert (mask[0] | ~mask[1]).all()


def test_a_traced_rate_that_is_no_probability_keeps_everything(key):
    for rate in (jnp.float32(jnp.nan), jnp.float32(-0.1), jnp.float32(1.1)):
        assert masks.bernoulli(key, (100,), rate=rate).all()


@pytest.mark.parametrize("shape", [(2**17, 2**16), (10**12,)])
def test_shapes_beyond_32_bits_trace_and_lower(key, shape):
    draw = jax.jit(lambda k: masks.bernoulli(k, shape, rate=0.5))
    assert draw.lower(key).out_info.shape == shape


# Masks drawn into memory.


def drop(key, x, rate=0.4):
    return jaxdrop.dropout(key, x, rate=rate)


def plain(key, x, rate=0.4):
    """Dropout as it would be without any of our machinery."""
    keep = 1 - jnp.float32(rate)
    mask = jax.random.bernoulli(key, keep, x.shape)
    return jnp.where(mask, x / keep, 0)


def test_a_held_mask_is_drawn_once_for_both_passes(key):
    x = jnp.ones((512, 512))

    def both(f):
        step = lambda x: jax.value_and_grad(lambda x: jnp.sin(f(key, x)).sum())(x)
        return jax.jit(step).lower(x).compile().cost_analysis()["flops"]

    once = jax.jit(lambda: masks.bernoulli(key, (512, 512), rate=0.4))
    hash_flops = once.lower().compile().cost_analysis()["flops"]
    assert both(drop) < 1.5 * hash_flops


@pytest.mark.slow
@pytest.mark.parametrize("shape", [HELD, (5, 6)])
def test_held_and_fused_masks_are_alike_under_every_transform(key, shape):
    x = normal(*shape)
    rates, keys = jnp.array([0.1, 0.5, 0.9]), jax.random.split(key, 3)
    np.testing.assert_array_equal(drop(key, x) == 0, plain(key, x) == 0)
    np.testing.assert_allclose(drop(key, x), plain(key, x), rtol=1e-6)
    for axes in ((0, None, None), (None, None, 0), (0, None, 0)):
        args = (keys if axes[0] == 0 else key, x, rates if axes[2] == 0 else 0.4)
        np.testing.assert_allclose(
            jax.vmap(drop, axes)(*args), jax.vmap(plain, axes)(*args), rtol=1e-6
        )
    loss = lambda f: lambda x: jnp.sin(f(key, x)).sum()
    for f in (loss, lambda f: jax.checkpoint(loss(f))):
        np.testing.assert_allclose(jax.grad(f(drop))(x), jax.grad(f(plain))(x), 1e-6)
    tangents = [
        jax.jvp(jax.grad(loss(f)), (x,), (jnp.ones_like(x),))[1] for f in (drop, plain)
    ]
    np.testing.assert_allclose(*tangents, rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(
        jax.linear_transpose(lambda x: drop(key, x), x)(x)[0], drop(key, x)
    )
    steps = jax.lax.scan(lambda y, k: (drop(k, y), None), x, keys)[0]
    y = x
    for k in keys:
        y = jax.jit(drop)(k, y)
    np.testing.assert_allclose(steps, y, rtol=1e-6)


def test_held_masks_lower_for_every_platform_and_survive_export(key):
    x = jnp.ones(HELD)
    step = jax.jit(jax.grad(lambda x, key: drop(key, x).sum()))
    exported = jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(x, key)
    np.testing.assert_array_equal(exported.call(x, key), drop(key, x))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_it_is_the_call_that_is_marked_on_every_mesh(kind, key):
    """And not the sharding constraint that JAX adds to its output."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.ones((4, 6)), NamedSharding(mesh, PartitionSpec("data")))
        text = jax.jit(drop).lower(key, x).as_text()
    marked = [line for line in text.splitlines() if 'inlineable = "false"' in line]
    assert marked and all("call @" in line for line in marked)


def test_held_masks_report_the_reuse_of_a_key():
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        key = jax.random.key(1)
        drop(key, jnp.ones(HELD))
        drop(key, jnp.ones(HELD))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    "spec", [("data",), (None, "model"), ("data", "model"), (("data", "model"),)]
)
def test_each_device_draws_its_share_of_the_one_mask(key, kind, spec):
    x = jnp.ones(HELD)
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    devices = np.prod([mesh.shape[a] for a in jax.tree.leaves(spec)])
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, sharding)
        program = jax.jit(drop).lower(key, spread).compile()
        y = program(key, spread)
    assert y.sharding.is_equivalent_to(sharding, y.ndim)
    alone = jax.jit(drop).lower(key, x).compile()
    np.testing.assert_array_equal(y, alone(key, x))
    share = program.cost_analysis()["flops"] / alone.cost_analysis()["flops"]
    assert share < 1.1 / devices
    for collective in ("all-gather", "all-reduce", "collective-permute", "all-to-all"):
        assert collective not in program.as_text()


@MANY
@pytest.mark.parametrize("traced", [False, True])
def test_seeds_that_23_bits_do_not_resolve_are_drawn(key, traced):
    rare = 1.1e-7  # less than a step of 2**-23
    keep = jnp.float32(1 - rare) if traced else 1 - rare
    draw = jax.jit(
        lambda rare: jaxdrop._masks.draw(key, (2**26,), keep=keep, rare=rare)
    )
    assert_count(int(jnp.sum(~draw(rare), dtype=jnp.int32)), 2**26, rare)
    assert draw(0.0).all()


def test_bits_and_keep_that_do_not_fit_are_refused_by_name():
    with pytest.raises(TypeError, match="bits must be uint32, got int32"):
        masks.survives(jnp.ones(3, jnp.int32), keep=0.5)
    for keep in jnp.ones(2) / 2, jnp.ones((1, 3)) / 2:
        with pytest.raises(ValueError, match="which does not broadcast against bits"):
            masks.survives(jnp.ones(3, jnp.uint32), keep=keep)
