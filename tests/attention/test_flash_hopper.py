"""The kernels of Hopper GPUs, interpreted: the exported mask, and the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula, kernels

import jaxdrop
from jaxdrop._attention import _dispatch, _flash

mosaic_gpu = pytest.importorskip("jax.experimental.pallas.mosaic_gpu")
pytestmark = pytest.mark.skipif(
    not hasattr(mosaic_gpu, "InterpretGPUParams"),
    reason="this JAX does not have the interpreter for Mosaic GPU",
)
CALLS = {  # queries, keys, heads, key heads, features, options
    "causal": (130, 133, 2, 1, 40, {"is_causal": True}),
    "plain": (130, 70, 2, 2, 128, {}),
    "window": (
        *(150, 100, 1, 1, 64),
        {"is_causal": True, "local_window_size": (30, 3), "scale": 0.3},
    ),
    "lengths": (140, 140, 2, 1, 64, {"key_value_seq_lengths": np.int32([0, 69])}),
}

SHARED = [(), (0, 1), (2,), (3,), (2, 3)]  # axes along which draws are shared


@pytest.fixture
def calls(monkeypatch):
    """Records what calls would compute."""
    found = []

    def attend(call, operands):
        found.append((call, operands))
        query = operands["query"]
        row = jnp.ones((query.shape[0], query.shape[2], query.shape[1]))
        return query, row, row

    monkeypatch.setattr(_dispatch, "attend", attend)
    return found


def arrays_of(name, dtype, batch=2):
    *sizes, options = CALLS[name]
    arrays = formula.inputs(batch, *sizes)
    return {name: jnp.asarray(x, dtype) for name, x in arrays.items()}, options


def in_kernels(call, operands, part):
    """Results of kernels by name, interpreted.

    The interpreter uses ordered callbacks, which JAX allows neither in lowering rules
    nor in differentiated functions.
    """
    run = jax.jit(
        lambda *arrays: _dispatch._in_kernels(
            *(call, "hopper", tuple(operands), (), part, *arrays),
            spread=False,
            interpret=mosaic_gpu.InterpretGPUParams(detect_races=True),
        )
    )
    names = ("output", "weights", "top") if part == "attend" else part
    return dict(zip(names, run(*operands.values()), strict=True))


def attended(calls, key, floating, options):
    """The call, its operands and results."""
    with jax.disable_jit():
        jaxdrop.dot_product_attention(
            key, *floating.values(), rate=0.3, implementation="mosaic_gpu", **options
        )
    call, operands = calls.pop()
    return call, operands, in_kernels(call, operands, "attend")


def outputs_and_gradients(calls, key, floating, options):
    call, operands, found = attended(calls, key, floating, options)
    cotangent = np.random.default_rng(1).normal(size=found["output"].shape)
    change = {
        "d_output": jnp.asarray(cotangent, found["output"].dtype),
        "d_weights": jnp.zeros_like(found["weights"]),
    }
    gradients = in_kernels(call, operands | found | change, tuple(floating))
    return (found["output"], gradients), np.asarray(change["d_output"], "float64")


def assert_formula(calls, key, name, dtype, batch=2):
    floating, options = arrays_of(name, dtype, batch)
    assert _flash.can_compute(floating, "hopper")
    got, cotangent = outputs_and_gradients(calls, key, floating, options)
    assert got[0].dtype == dtype
    wanted = kernels.expected(key, floating, options, cotangent)
    precision = 0.03 if dtype == jnp.bfloat16 else 0.004
    kernels.assert_close(got, wanted, {"rtol": precision, "atol": precision})


def test_outputs_and_gradients_are_the_formulas(calls, key):
    assert_formula(calls, key, "causal", jnp.float16, batch=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("light", [False, True])
def test_every_option_with_both_generators(calls, key, name, light):
    key = jaxdrop.prng.light(key) if light else key
    assert_formula(calls, key, name, jnp.bfloat16)


@pytest.mark.parametrize(
    "light, broadcast_dims",
    [(True, ()), *(pytest.param(False, x, marks=pytest.mark.slow) for x in SHARED)],
)
def test_the_mask_is_the_exported_one_bit_for_bit(calls, key, light, broadcast_dims):
    key = jaxdrop.prng.light(key) if light else key
    queries, keys = 70, 100
    eye = jnp.broadcast_to(jnp.eye(keys)[None, :, None], (2, keys, 1, keys))
    floating = {
        "query": jnp.zeros((2, queries, 2, keys), jnp.bfloat16),
        "key": jnp.zeros((2, keys, 1, keys), jnp.bfloat16),
        "value": eye.astype(jnp.bfloat16),
    }
    options = {"broadcast_dims": broadcast_dims}
    weights = attended(calls, key, floating, options)[2]["output"]
    shape = (2, 2, queries, keys)
    kept = jaxdrop.masks.bernoulli(key, shape, rate=0.3, broadcast_dims=broadcast_dims)
    kept = np.broadcast_to(kept, shape)
    np.testing.assert_array_equal(np.moveaxis(weights, 1, 2) > 0, kept)
