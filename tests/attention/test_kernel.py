"""The flash attention kernels, interpreted: the exported mask, and the formula."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop._attention import _dispatch, _flash

attention = functools.partial(
    jaxdrop.dot_product_attention, rate=0.3, implementation="pallas", block_size=16
)
PLATFORMS = ("tpu", "gpu")
SLOW = pytest.mark.slow
MASK = np.random.default_rng(3).random((2, 1, 33, 40)) < 0.4
BIAS = np.random.default_rng(4).normal(size=(2, 4, 33, 40)).astype("float32")
CALLS = {  # queries, keys, heads, key heads, features, options
    "plain": (33, 40, 4, 2, 8, {}),
    "causal": (37, 22, 4, 1, 8, {"is_causal": True}),
    "window": (40, 21, 2, 2, 20, {"local_window_size": (6, 3), "scale": 0.3}),
    "causal window": (
        *(49, 49, 2, 1, 8),
        {"is_causal": True, "local_window_size": (9, 0), "block_size": (16, 32)},
    ),
    "lengths": (
        *(40, 40, 2, 1, 4),
        {
            "is_causal": True,
            "key_value_seq_lengths": np.int32([0, 25]),
            "query_seq_lengths": np.int32([40, 33]),
        },
    ),
    "mask": (33, 40, 4, 2, 8, {"mask": MASK, "is_causal": True}),
    "bias": (33, 40, 4, 2, 8, {"bias": BIAS}),
    "bias of all examples": (33, 40, 4, 2, 8, {"bias": BIAS[:1], "is_causal": True}),
    "bias of keys": (33, 40, 4, 4, 8, {"bias": BIAS[:, :1, :1], "mask": MASK}),
    "bias of queries": (33, 40, 4, 4, 8, {"bias": BIAS[:1, :, :, :1]}),
}
QUICK = {("tpu", "lengths"), ("gpu", "bias of all examples")}
TABLE = [
    (platform, call)
    if (platform, call) in QUICK
    else pytest.param(platform, call, marks=SLOW)
    for platform in PLATFORMS
    for call in CALLS
]


@pytest.fixture
def interpreted(monkeypatch):
    """Chooses whose kernels are interpreted."""

    def choose(platform):
        jax.clear_caches()
        monkeypatch.setattr(_dispatch, "_INTERPRETED", platform)

    yield choose
    jax.clear_caches()


def data(call, dtype="float32"):
    *sizes, options = CALLS[call]
    arrays = formula.inputs(2, *sizes)
    floating = {name: jnp.asarray(x, dtype) for name, x in arrays.items()}
    options = dict(options)
    if "bias" in options:
        floating["bias"] = jnp.asarray(options.pop("bias"), dtype)
    return floating, options


def run(key, floating, options, cotangent=None):
    """The output, and its product with a cotangent differentiated."""

    def attend(floating):
        rest = dict(floating)
        arrays = [rest.pop(name) for name in ("query", "key", "value")]
        return attention(key, *arrays, **{**options, **rest})

    @jax.jit
    def both(floating, cotangent):
        y, pull = jax.vjp(attend, floating)
        return y, pull(cotangent.astype(y.dtype))[0]

    if cotangent is None:
        shape = floating["query"].shape
        cotangent = np.random.default_rng(1).normal(size=shape).astype("float32")
    return both(floating, jnp.asarray(cotangent)), cotangent


def expected(key, floating, options, cotangent, rate=0.3):
    """The same by the formula in double precision, with the exported mask."""
    arrays = {
        n: np.asarray(x.astype("float32"), "float64") for n, x in floating.items()
    }
    names = ("mask", "query_seq_lengths", "key_value_seq_lengths")
    arrays |= {name: options[name] for name in names if name in options}
    names = ("is_causal", "local_window_size", "scale")
    masking = {name: options[name] for name in names if name in options}
    batch, queries, heads, _ = arrays["query"].shape
    shape = (batch, heads, queries, arrays["key"].shape[1])
    kept = np.asarray(jaxdrop.masks.bernoulli(key, shape, rate=rate))
    how = {"kept": kept, "keep": 1 - rate, **masking}
    cotangent = np.asarray(cotangent, "float64")
    gradients = formula.gradients(arrays, cotangent, **how)
    return formula.attend(arrays, **how), gradients


def assert_close(got, wanted, tolerance):
    y, gradients = got
    np.testing.assert_allclose(y.astype("float32"), wanted[0], **tolerance)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient.astype("float32"), wanted[1][name], err_msg=name, **tolerance
        )


@pytest.mark.parametrize("platform, call", TABLE)
def test_outputs_and_gradients_are_the_formulas(interpreted, key, platform, call):
    interpreted(platform)
    floating, options = data(call)
    got, cotangent = run(key, floating, options)
    wanted = expected(key, floating, options, cotangent)
    assert_close(got, wanted, {"rtol": 2e-5, "atol": 2e-5})


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("features", [64, 80, 96, 128, 256])
def test_heads_of_any_usual_size_in_bfloat16(interpreted, key, platform, features):
    interpreted(platform)
    arrays = formula.inputs(1, 20, 36, 2, 1, features)
    floating = {name: jnp.asarray(x, "bfloat16") for name, x in arrays.items()}
    got, cotangent = run(key, floating, {"is_causal": True})
    assert got[0].dtype == jnp.bfloat16
    wanted = expected(key, floating, {"is_causal": True}, cotangent)
    assert_close(got, wanted, {"rtol": 0.03, "atol": 0.03})


@pytest.mark.parametrize(
    "platform, broadcast_dims, light",
    [
        ("tpu", (), True),
        ("gpu", (), True),
        *(
            pytest.param(platform, axes, False, marks=SLOW)
            for platform in PLATFORMS
            for axes in [(), (0, 1), (2,), (3,)]
        ),
    ],
)
def test_the_mask_is_the_exported_one_bit_for_bit(
    interpreted, key, platform, broadcast_dims, light
):
    interpreted(platform)
    key = jaxdrop.prng.light(key) if light else key
    floating, _ = data("plain")
    eye = jnp.broadcast_to(jnp.eye(40)[None, :, None], (2, 40, 2, 40))
    query, key_ = (
        jnp.pad(floating[name], ((0, 0), (0, 0), (0, 0), (0, 32)))
        for name in ("query", "key")
    )
    kept = jaxdrop.masks.bernoulli(
        key, (2, 4, 33, 40), rate=0.3, broadcast_dims=broadcast_dims
    )
    kept = np.broadcast_to(kept, (2, 4, 33, 40))
    options = {"broadcast_dims": broadcast_dims}
    for implementation in ("pallas", None):
        weights = attention(
            key, query, key_, eye, implementation=implementation, **options
        )
        np.testing.assert_array_equal(np.moveaxis(weights, 1, 2) > 0, kept)


def test_a_key_without_counters_gives_the_plain_paths_mask():
    floating, _ = data("plain")
    key = jax.random.key(3, impl="rbg")
    plain = attention(key, *floating.values(), implementation=None)
    got = attention(key, *floating.values())
    np.testing.assert_allclose(got, plain, rtol=1e-5, atol=1e-6)


def test_under_vmap_each_row_has_the_mask_of_its_own_call(key):
    floating, options = data("causal")
    rows = [jnp.stack([x, 2 * x]) for x in floating.values()]
    keys = jax.random.split(key, 2)

    def loss(key, rate, *arrays):
        return jnp.sin(attention(key, *arrays, **options | {"rate": rate})).sum()

    gradient = jax.value_and_grad(loss, (2, 3, 4))
    axes = (0, 0, 0, None, 0)
    rates, key_ = jnp.array([0.3, 0.6]), rows[1][0]
    got = jax.jit(jax.vmap(gradient, axes))(keys, rates, rows[0], key_, rows[2])
    for row in range(2):
        alone = gradient(keys[row], rates[row], rows[0][row], key_, rows[2][row])
        for a, b in zip(*map(jax.tree.leaves, (got, alone)), strict=True):
            np.testing.assert_allclose(a[row], b, rtol=1e-5, atol=1e-5)


def test_a_traced_rate_compiles_once_and_is_nan_where_it_is_not_a_probability(key):
    arrays = list(data("plain")[0].values())

    @jax.jit
    def both(rate):
        attend = lambda a: attention(key, *a, rate=rate)
        y, pull = jax.vjp(attend, arrays)
        return y, pull(jnp.ones_like(y))[0]

    undropped = jax.nn.dot_product_attention(*arrays)
    np.testing.assert_allclose(both(jnp.float32(0))[0], undropped, rtol=2e-5, atol=2e-6)
    assert not any(x.any() for x in jax.tree.leaves(both(jnp.float32(1))))
    for rate in (np.nan, 1.5, -1e-9):
        assert all(jnp.isnan(x).all() for x in jax.tree.leaves(both(jnp.float32(rate))))
    assert both._cache_size() == 1


@pytest.mark.slow
def test_the_scale_may_be_learned_and_no_gradient_flows_into_the_rate(key):
    arrays = list(data("plain")[0].values())

    def loss(scale, rate, implementation):
        y = attention(
            key, *arrays, rate=rate, scale=scale, implementation=implementation
        )
        return jnp.sin(y).sum()

    for scale in (0.4, 0.0):
        at = jnp.float32(scale), jnp.float32(0.3)
        got, plain = (jax.grad(loss, (0, 1))(*at, name) for name in ("pallas", None))
        np.testing.assert_allclose(got[0], plain[0], rtol=1e-4)
        assert got[1] == plain[1] == 0


@pytest.mark.slow
def test_higher_derivatives_and_those_forward_are_the_plain_paths(key):
    arrays = list(data("plain")[0].values())

    def loss(query, implementation):
        y = attention(key, query, *arrays[1:], implementation=implementation)
        return jnp.sin(y).sum()

    direction = jnp.cos(arrays[0])

    def second(query, implementation):
        own = lambda query: loss(query, implementation)

        def first(query):
            change = jax.jvp(own, (query,), (direction,))[1]
            return change + jax.grad(own)(query).sum()

        return jax.grad(first)(query)

    got, plain = (second(arrays[0], name) for name in ("pallas", None))
    np.testing.assert_allclose(got, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key_heads", [4, pytest.param(1, marks=SLOW)])
def test_spread_over_devices_the_results_are_the_same(key, key_heads):
    arrays = [
        jnp.asarray(x) for x in formula.inputs(2, 16, 16, 4, key_heads, 8).values()
    ]
    bias = jnp.asarray(BIAS[:1, :, :16, :16])

    @jax.jit
    def both(*arrays):
        attend = lambda *x: attention(key, *x[:3], bias=x[3])
        y, pull = jax.vjp(attend, *arrays)
        return y, pull(jnp.cos(y))

    alone = both(*arrays, bias)
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    spec = PartitionSpec("data", None, "model" if key_heads > 1 else None)
    specs = [PartitionSpec("data", None, "model"), spec, spec, PartitionSpec()]
    spread = [
        jax.device_put(x, NamedSharding(mesh, s))
        for x, s in zip([*arrays, bias], specs, strict=True)
    ]
    got = both(*spread)
    for a, b in zip(*map(jax.tree.leaves, (got, alone)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


INTERPRETED = pytest.mark.xfail(
    reason="the interpreter of Pallas does not mark its loop variables as varying",
    raises=ValueError,
)


@pytest.mark.parametrize(
    "implementation", [None, pytest.param("pallas", marks=[SLOW, INTERPRETED])]
)
def test_within_shard_map_keys_and_rates_may_differ(key, implementation):
    length = 80 if implementation is None else 24  # the mask takes the long path
    arrays = [
        jnp.asarray(x) for x in formula.inputs(2, length, length, 2, 2, 4).values()
    ]
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    attend = functools.partial(attention, implementation=implementation, is_causal=True)

    def loss(key, rate, query, key_, value):
        y = attend(key, query, key_, value, rate=rate)
        return jnp.sin(y).sum(keepdims=True), y

    def shard(query, key_, value):
        index = jax.lax.axis_index("data")
        own = jax.random.fold_in(key, index)
        rate = 0.2 + 0.3 * index.astype(jnp.float32)
        total = lambda *x: loss(own, rate, *x)[0].sum()
        return loss(own, rate, query, key_, value)[1], jax.grad(total)(
            query, key_, value
        )

    spec = PartitionSpec("data")
    got = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=spec, out_specs=spec))(
        *arrays
    )
    for index in range(2):
        part = [x[index : index + 1] for x in arrays]
        own, rate = jax.random.fold_in(key, index), jnp.float32(0.2 + 0.3 * index)
        total = lambda *x, own=own, rate=rate: loss(own, rate, *x)[0].sum()
        alone = loss(own, rate, *part)[1], jax.grad(total)(*part)
        for a, b in zip(*map(jax.tree.leaves, (got, alone)), strict=True):
            np.testing.assert_allclose(a[index], b[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "platform, target", [("tpu", "@tpu_custom_call"), ("cuda", "gpu.triton")]
)
def test_it_is_chosen_for_the_platform_that_a_program_is_lowered_for(
    key, platform, target, recwarn
):
    def loss(key, *arrays):
        y = jaxdrop.dot_product_attention(key, *arrays, rate=0.1, is_causal=True)
        return y.astype(jnp.float32).sum()

    shape = jax.ShapeDtypeStruct((1, 256, 2, 64), jnp.bfloat16)
    short = jax.ShapeDtypeStruct((1, 32, 2, 64), jnp.bfloat16)
    step = jax.jit(jax.grad(loss, (1, 2, 3)))
    count = {}
    for x in (shape, short):
        traced = step.trace(key, x, x, x)
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        count[x.shape[1]] = program.count(target)
    kernels = {"tpu": 2, "cuda": 3 if _flash.available("gpu") else 0}
    assert count == {256: kernels[platform], 32: 0}
    assert not [w for w in recwarn if "Triton" in str(w.message)]
    exported = jax.export.export(step, platforms=("cpu", platform))(key, *[shape] * 3)
    assert exported.platforms == ("cpu", platform)


def test_where_nothing_is_dropped_it_is_jaxs_attention():
    arrays = list(data("plain")[0].values())
    ours = jax.make_jaxpr(lambda *x: attention(None, *x, rate=0))(*arrays)
    jaxs = jax.make_jaxpr(jax.nn.dot_product_attention)(*arrays)
    assert str(ours) == str(jaxs)


@pytest.mark.parametrize("platform", ["tpu", "gpu"])
def test_a_large_bias_does_not_overflow_beyond_the_last_query(
    interpreted, key, platform
):
    interpreted(platform)
    arrays = formula.inputs(1, 20, 36, 2, 1, 16)
    floating = {name: jnp.asarray(x, "float32") for name, x in arrays.items()}
    floating["bias"] = jnp.full((1, 1, 1, 36), 200.0)
    (_, found), cotangent = run(key, floating, {})
    floating["bias"] = jnp.zeros((1, 1, 1, 36))
    (_, plain), _ = run(key, floating, {}, cotangent)
    for name, gradient in plain.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("size, found", [(8, "got 8"), ((16, 24), "got 24")])
def test_says_which_blocks_it_takes(key, size, found):
    arrays = list(data("plain")[0].values())
    with pytest.raises(ValueError, match=f"powers of two.*at least 16; {found}"):
        attention(key, *arrays, block_size=size)


def test_says_that_it_takes_no_double_precision(key):
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x, jnp.float64) for x in data("plain")[0].values()]
        with pytest.raises(ValueError, match="does not take float64"):
            attention(key, *arrays)


def test_says_that_it_takes_no_heads_of_many_features(key):
    arrays = [jnp.ones((1, 16, 1, 257))] * 3
    with pytest.raises(ValueError, match="does not take heads of more than 256"):
        attention(key, *arrays)


def test_importing_the_library_does_not_import_its_kernels():
    names = ("jax.experimental.pallas.triton", "jax.experimental.pallas.tpu")
    code = f"import sys, jaxdrop; print([n for n in {names} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
