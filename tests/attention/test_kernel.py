"""The kernels, interpreted: the mask and the results of the plain path."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula

import jaxdrop

attention = functools.partial(
    jaxdrop.dot_product_attention, rate=0.3, implementation="pallas"
)
CALLS = {  # queries, keys, heads, key heads, features, dtype, options
    "grouped": (33, 33, 4, 2, 8, "float32", {}),
    "causal": (37, 22, 4, 1, 8, "float32", {"is_causal": True, "block_size": 16}),
    "more keys": (
        *(21, 70, 2, 2, 20, "float32"),
        {"is_causal": True, "block_size": (16, 32), "scale": 0.3},
    ),
    "lengths": (
        *(70, 40, 2, 1, 4, "float32"),
        {
            "is_causal": True,
            "block_size": (32, 16),
            "key_value_seq_lengths": np.int32([0, 25]),
            "query_seq_lengths": np.int32([70, 33]),
        },
    ),
    "bfloat16": (33, 40, 4, 2, 8, "bfloat16", {"block_size": (32, 16)}),
    "float16": (33, 33, 1, 1, 8, "float16", {"is_causal": True}),
}


SLOW = pytest.mark.slow


def data(call):
    *sizes, dtype, options = CALLS[call]
    arrays = formula.inputs(2, *sizes)
    return [jnp.asarray(x, dtype) for x in arrays.values()], options


def random_like(x, seed):
    values = np.random.default_rng(seed).normal(size=x.shape)
    return jnp.asarray(values, x.dtype)


@pytest.mark.parametrize(
    "call",
    [
        call if call in ("causal", "grouped") else pytest.param(call, marks=SLOW)
        for call in CALLS
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_path(key, call):
    arrays, options = data(call)

    cotangent = random_like(arrays[0], 1)

    def run(arrays, **more):
        attend = functools.partial(attention, **{**options, **more})
        y, pull = jax.vjp(lambda a: attend(key, *a), arrays)
        return y, pull(cotangent.astype(y.dtype))[0]

    got = jax.jit(run)(arrays)
    expected = run(
        [x.astype(jnp.float32) for x in arrays],
        implementation=None,
        block_size=None,
    )
    step = float(jnp.finfo(got[0].dtype).eps)
    for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        assert a.dtype == got[0].dtype
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=4 * step, atol=9e-6)


@pytest.mark.parametrize(
    "broadcast_dims, block_size",
    [((), None), ((), (16, 32)), ((0, 1), None), ((2,), (32, 16)), ((3,), (16, 16))],
)
def test_the_mask_is_the_exported_one_bit_for_bit(key, broadcast_dims, block_size):
    arrays, _ = data("grouped")
    eye = jnp.broadcast_to(jnp.eye(33)[None, :, None], (2, 33, 2, 33))
    query, key_ = (jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 25))) for x in arrays[:2])
    options = {"block_size": block_size, "broadcast_dims": broadcast_dims}
    weights = attention(key, query, key_, eye, **options)
    kept = jaxdrop.masks.bernoulli(
        key, (2, 4, 33, 33), rate=0.3, broadcast_dims=broadcast_dims
    )
    kept = np.broadcast_to(kept, (2, 4, 33, 33))
    np.testing.assert_array_equal(np.moveaxis(weights, 1, 2) > 0, kept)


def test_a_key_without_counters_gives_the_plain_paths_mask():
    arrays, _ = data("grouped")
    key = jax.random.key(3, impl="rbg")
    plain = attention(key, *arrays, implementation=None)
    got = attention(key, *arrays)
    np.testing.assert_allclose(got, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_under_vmap_each_row_has_the_mask_of_its_own_call(key):
    arrays, _ = data("grouped")
    keys = jax.random.split(key, 2)

    def loss(key, arrays):
        return jnp.sin(attention(key, *arrays)).sum()

    got = jax.jit(jax.vmap(jax.value_and_grad(loss, 1)))(keys, arrays)
    for row in range(2):
        own = [x[row] for x in arrays]
        alone = jax.value_and_grad(loss, 1)(keys[row], own)
        for a, b in zip(*map(jax.tree.leaves, (got, alone)), strict=True):
            np.testing.assert_allclose(a[row], b, rtol=1e-5, atol=1e-5)


def test_a_traced_rate_compiles_once_and_is_nan_where_it_is_no_probability(key):
    arrays, _ = data("grouped")

    @jax.jit
    def run(rate):
        attend = lambda a: attention(key, *a, rate=rate)
        y, pull = jax.vjp(attend, arrays)
        return y, pull(jnp.ones_like(y))[0]

    undropped = jax.nn.dot_product_attention(*arrays)
    np.testing.assert_allclose(run(jnp.float32(0))[0], undropped, rtol=2e-5, atol=2e-6)
    assert not any(x.any() for x in jax.tree.leaves(run(jnp.float32(1))))
    for rate in (np.nan, 1.5, -1e-9):
        assert jnp.isnan(run(jnp.float32(rate))[0]).all()
    assert run._cache_size() == 1


@pytest.mark.slow
def test_the_scale_may_be_learned_and_no_gradient_flows_into_the_rate(key):
    arrays, _ = data("grouped")

    def loss(scale, rate, implementation):
        y = attention(
            key, *arrays, rate=rate, scale=scale, implementation=implementation
        )
        return jnp.sin(y).sum()

    at = jnp.float32(0.4), jnp.float32(0.3)
    got, plain = (jax.grad(loss, (0, 1))(*at, name) for name in ("pallas", None))
    np.testing.assert_allclose(got[0], plain[0], rtol=1e-4)
    assert got[1] == plain[1] == 0


@pytest.mark.filterwarnings("default:The Pallas Triton backend is deprecated")
def test_it_lowers_to_triton_for_a_gpu(monkeypatch, key):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    shape = jax.ShapeDtypeStruct((1, 200, 2, 48), jnp.bfloat16)

    def loss(key, *arrays):
        y = attention(key, *arrays, is_causal=True)
        return y.astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(loss, (1, 2, 3))).trace(key, shape, shape, shape)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    kernels = ("forward", "back_to_queries", "back_to_keys")
    assert program.count("__gpu$xla.gpu.triton") == len(kernels)


def test_where_nothing_is_dropped_it_is_jaxs_attention():
    arrays, _ = data("grouped")
    ours = jax.make_jaxpr(lambda *x: attention(None, *x, rate=0))(*arrays)
    jaxs = jax.make_jaxpr(jax.nn.dot_product_attention)(*arrays)
    assert str(ours) == str(jaxs)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bias": np.zeros((33, 33), np.float32)}, "takes no bias"),
        ({"mask": np.ones((33, 33), bool)}, "takes no mask"),
        ({"local_window_size": 3}, "takes no local_window_size"),
        ({"block_size": 8}, "powers of two.*at least 16; got 8"),
        ({"block_size": (16, 24)}, "powers of two.*at least 16; got 24"),
    ],
)
def test_says_what_it_does_not_take(key, options, message):
    arrays, _ = data("grouped")
    with pytest.raises(ValueError, match=message):
        attention(key, *arrays, **options)


def test_says_that_it_takes_no_double_precision(key):
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x, jnp.float64) for x in data("grouped")[0]]
        with pytest.raises(ValueError, match="takes no float64"):
            attention(key, *arrays)


def test_says_that_it_is_not_for_tpus(monkeypatch, key):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(ValueError, match="leave implementation out on a TPU"):
        attention(key, *data("grouped")[0])


def test_says_that_it_is_differentiable_backward_and_once(key):
    arrays, _ = data("grouped")
    loss = lambda query: attention(key, query, *arrays[1:]).sum()
    twice = jax.grad(lambda query: jnp.sum(jax.grad(loss)(query) ** 2))
    with pytest.raises(NotImplementedError, match="can be differentiated once only"):
        twice(arrays[0])
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (arrays[0],), (arrays[0],))
