"""Masks: their statistics, what they depend on, and how they are applied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads
from scipy import stats

import jaxdrop
from chance import (
    assert_count,
    assert_frequency,
    assert_uncorrelated,
    assert_uniform_counts,
)
from jaxdrop import masks

HELD = (96, 64)  # large enough to be drawn into memory on a CPU
BROADCAST = [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]


@jax.jit
def dropped(key, rate):
    return jnp.sum(~masks.bernoulli(key, (2**20,), rate=rate), dtype=jnp.int32)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_entries_are_dropped_at_the_rate(rate):
    counts = [int(dropped(jax.random.key(seed), rate)) for seed in range(10)]
    for count in counts:
        assert_count(count, 2**20, rate)
    assert_count(sum(counts), 10 * 2**20, rate, p_value=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float64])
def test_a_narrow_rate_is_realised_at_the_value_it_stores(key, dtype):
    rate = dtype(0.003) if dtype is np.float64 else jnp.asarray(0.003, dtype)
    assert_count(int(dropped(key, rate)), 2**20, float(rate))


def test_a_tiny_rate_drops_as_rarely_as_it_says(key):
    keys = jax.random.split(key, 64)
    count = int(jnp.sum(jax.lax.map(lambda k: dropped(k, 1e-6), keys)))
    realised = 1 - np.ceil(np.float32(1 - 1e-6) * 2.0**23) / 2**23
    assert_count(count, 64 * 2**20, realised)
    assert realised == pytest.approx(1e-6, abs=2**-23)


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


def test_the_mask_of_this_release_is_pinned():
    """A change of these bits breaks reproducibility: it needs a line in CHANGELOG."""
    mask = masks.bernoulli(jax.random.key(0), (16,), rate=0.5)
    assert "".join(str(int(kept)) for kept in mask) == "0011011001010000"


@pytest.mark.parametrize("rate", [*np.arange(1, 20) / 20, 1e-7, 1 - 1e-7, 2**-24])
def test_it_is_the_bernoulli_of_jax(key, rate):
    ours = masks.bernoulli(key, (1000,), rate=float(rate))
    theirs = jax.random.bernoulli(key, 1 - float(rate), (1000,))
    np.testing.assert_array_equal(ours, theirs)
    traced = jax.jit(lambda r: masks.bernoulli(key, (1000,), rate=r))(rate)
    np.testing.assert_array_equal(
        traced, jax.random.bernoulli(key, 1 - jnp.float32(rate), (1000,))
    )


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


@pytest.mark.parametrize("axes", BROADCAST)
def test_shared_axes_share_one_draw(key, axes):
    shape = (12, 13, 14)
    mask = masks.bernoulli(key, shape, rate=0.5, broadcast_dims=axes)
    negative = tuple(axis - 3 for axis in axes)
    assert mask.shape == tuple(1 if i in axes else n for i, n in enumerate(shape))
    assert_frequency(mask, 0.5)
    np.testing.assert_array_equal(
        mask, masks.bernoulli(key, shape, rate=0.5, broadcast_dims=negative)
    )


def test_shared_axes_of_length_one_and_all_axes_are_one_decision(key):
    one = masks.bernoulli(key, (1, 5), rate=0.5, broadcast_dims=(0,))
    assert one.shape == (1, 5)
    mask = masks.bernoulli(key, (4, 5), rate=0.5, broadcast_dims=(0, 1))
    assert mask.shape == (1, 1)


def test_wrong_axes_are_named(key):
    with pytest.raises(ValueError, match="axis 5 is out of bounds for rank 3"):
        masks.bernoulli(key, (2, 3, 4), rate=0.5, broadcast_dims=(5,))
    one = jaxdrop.dropout(key, jnp.ones((3, 40)), rate=0.5, broadcast_dims=0)
    assert (one == one[:1]).all()
    with pytest.raises(ValueError, match="num_spatial_dims must be 1, 2 or 3"):
        jaxdrop.spatial_dropout(
            key, jnp.ones((2, 3, 3, 1)), rate=0.5, num_spatial_dims=2.0
        )
    with pytest.raises(ValueError, match="names an axis twice"):
        masks.bernoulli(key, (2, 3, 4), rate=0.5, broadcast_dims=(1, -2))
    with pytest.raises(TypeError, match="must be an integer"):
        masks.bernoulli(key, (2, 3, 4), rate=0.5, broadcast_dims=("a",))


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
    x = jax.random.normal(key, shape)
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


def test_a_gradient_holds_half_of_what_it_does_with_a_mask_of_jaxs(key):
    kernels, x = 12 * [jnp.ones((128, 128))], jnp.ones((256, 128))

    def held(drop):
        def loss(kernels, x, key):
            for site, kernel in enumerate(kernels):
                x = drop(jax.random.fold_in(key, site), jnp.tanh(x @ kernel))
            return jnp.sum(x**2)

        program = jax.jit(jax.grad(loss)).lower(kernels, x, key).compile()
        return program.memory_analysis().temp_size_in_bytes

    def plain(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0)

    assert held(lambda key, x: jaxdrop.dropout(key, x, rate=0.5)) < 0.6 * held(plain)


def test_held_masks_lower_for_every_platform_and_survive_export(key):
    x = jnp.ones(HELD)
    step = jax.jit(jax.grad(lambda x, key: drop(key, x).sum()))
    exported = jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(x, key)
    np.testing.assert_array_equal(exported.call(x, key), drop(key, x))


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
        step = jax.jit(drop)
        program = step.lower(key, spread).compile()
        y = step(key, spread)
    assert y.sharding.is_equivalent_to(sharding, y.ndim)
    np.testing.assert_array_equal(y, drop(key, x))
    alone = jax.jit(drop).lower(key, x).compile()
    share = program.cost_analysis()["flops"] / alone.cost_analysis()["flops"]
    assert share < 1.1 / devices
    for collective in ("all-gather", "all-reduce", "collective-permute", "all-to-all"):
        assert collective not in program.as_text()


def test_a_shared_axis_may_be_sharded(key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    share = lambda x: jaxdrop.dropout(key, x, rate=0.5, broadcast_dims=(0,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(
            jnp.ones(HELD), NamedSharding(mesh, PartitionSpec("data"))
        )
        y = jax.jit(share)(spread)
        assert y.sharding.spec[0] == "data"
    np.testing.assert_array_equal(y, share(jnp.ones(HELD)))


# Applying masks.


def test_the_textbook_example():
    """A 4x5 matrix, dropped at 0.5 by the mask that NumPy's seed 1 draws."""
    x = jnp.arange(20, dtype=jnp.float32).reshape(4, 5) / 20
    ct = jnp.arange(20, dtype=jnp.float32).reshape(4, 5) / 50
    mask = jnp.asarray(np.random.RandomState(1).rand(4, 5) > 0.5)
    y, pull = jax.vjp(lambda x: masks.apply(x, mask, keep=0.5), x)
    printed_y = [
        [0.0, 0.1, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.9],
        [0.0, 1.1, 0.0, 1.3, 0.0],
        [1.5, 0.0, 1.7, 0.0, 0.0],
    ]
    printed_dx = [
        [0.0, 0.04, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.36],
        [0.0, 0.44, 0.0, 0.52, 0.0],
        [0.6, 0.0, 0.68, 0.0, 0.0],
    ]
    np.testing.assert_allclose(y, printed_y, rtol=1e-6)
    np.testing.assert_allclose(pull(ct)[0], printed_dx, rtol=1e-6)


def test_kept_entries_are_divided_once_and_rounded_once(key):
    x = jax.random.normal(key, (500,))
    mask = jnp.ones((500,), bool)
    np.testing.assert_array_equal(
        masks.apply(x, mask, keep=0.7), x / jnp.float32(np.float32(0.7))
    )
    low = x.astype(jnp.bfloat16)
    exact = (low.astype(jnp.float32) / jnp.float32(0.9)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(masks.apply(low, mask, keep=0.9), exact)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.random.default_rng(0).normal(size=50))
        np.testing.assert_array_equal(
            masks.apply(wide, jnp.ones(50, bool), keep=0.7), wide / jnp.float64(0.7)
        )


def test_large_float16_overflows_only_where_it_is_kept():
    x = jnp.full((2,), 6e4, jnp.float16)
    y = masks.apply(x, jnp.array([True, False]), keep=0.5)
    assert np.isinf(y[0]) and y[1] == 0


def test_complex_entries_are_dropped_as_a_whole(key):
    x = jax.random.normal(key, (200,), jnp.complex64)
    y = jaxdrop.dropout(key, x, rate=0.5)
    np.testing.assert_array_equal(y.real == 0, y.imag == 0)
    kept = y != 0
    np.testing.assert_allclose(y[kept], 2 * x[kept], rtol=1e-6)


@pytest.mark.parametrize("axes, size", [((0,), 64), ((1,), 96), ((), 96 * 64)])
def test_only_the_mask_as_drawn_is_saved_for_the_backward_pass(key, capsys, axes, size):
    share = lambda x: jaxdrop.dropout(key, x, rate=0.3, broadcast_dims=axes)
    print_saved_residuals(share, jnp.ones(HELD))
    saved = capsys.readouterr().out.strip().splitlines()
    shapes = [line.split(" ")[0] for line in saved]
    shapes = [shape for shape in shapes if shape != "i32[]"]  # the platform's number
    drawn = tuple(1 if i in axes else n for i, n in enumerate(HELD))
    assert np.prod(drawn) == size
    assert sorted(shapes) == sorted([f"bool[{drawn[0]},{drawn[1]}]", "f32[]"])


def test_gradients_of_a_shared_mask_sum_over_what_shares_it(key):
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
        share = lambda x: jaxdrop.dropout(key, x, rate=0.3, broadcast_dims=(0,))
        loss = lambda x: jnp.sin(share(x)).sum()
        check_grads(loss, (x,), order=3, atol=1e-6, rtol=1e-6)


def test_masks_equal_those_of_flax(key):
    x = jnp.ones((40, 30))
    for axes in ((), (0,), (1,), (0, 1)):
        y = nnx.Dropout(0.3, broadcast_dims=axes)(x, rngs=key)
        ours = masks.bernoulli(key, x.shape, rate=0.3, broadcast_dims=axes)
        np.testing.assert_array_equal(y != 0, jnp.broadcast_to(ours, x.shape))


def test_sides_and_axes_are_integers_of_any_kind(key):
    x = jnp.ones((2, 6, 6, 3))
    options = {"rate": 0.3, "block_size": (3, 2), "num_spatial_dims": 2}
    plain = jaxdrop.drop_block(key, x, **options)
    options |= {"block_size": np.array([3, 2]), "num_spatial_dims": np.int64(2)}
    assert (jaxdrop.drop_block(key, x, **options) == plain).all()
    for knob in ({"block_size": True}, {"num_spatial_dims": True}):
        with pytest.raises(ValueError, match="got True"):
            jaxdrop.drop_block(key, x, **{**options, **knob})
