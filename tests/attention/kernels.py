"""Calls of the flash attention kernels, and what they are to give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula

import jaxdrop

attention = functools.partial(
    jaxdrop.dot_product_attention, rate=0.3, implementation="pallas", block_size=16
)
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
QUICK = {"tpu": "lengths", "gpu": "bias of all examples"}


def data(call, dtype="float32"):
    *sizes, options = CALLS[call]
    arrays = formula.inputs(2, *sizes)
    floating = {name: jax.device_put(x.astype(dtype)) for name, x in arrays.items()}
    options = dict(options)
    if "bias" in options:
        floating["bias"] = jax.device_put(options.pop("bias").astype(dtype))
    return floating, options


def both_passes(key, options):
    """A program for the output, and its product with a cotangent differentiated."""

    def attend(floating):
        rest = dict(floating)
        arrays = [rest.pop(name) for name in ("query", "key", "value")]
        return attention(key, *arrays, **{**options, **rest})

    @jax.jit
    def both(floating, cotangent):
        y, pull = jax.vjp(attend, floating)
        return y, pull(cotangent.astype(y.dtype))[0]

    return both


def run(key, floating, options):
    """What it gives, and a cotangent."""
    shape = floating["query"].shape
    cotangent = np.random.default_rng(1).normal(size=shape).astype("float32")
    return both_passes(key, options)(floating, cotangent), cotangent


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


def calls_of(platform):
    """All calls, of which one is not slow."""
    return [
        (platform, call)
        if QUICK[platform] == call
        else pytest.param(platform, call, marks=SLOW)
        for call in CALLS
    ]


def shared_axes_of(platform):
    """Axes along which draws are shared, and whether the key is a light one."""
    axes = [(), (0, 1), (2,), (3,)]
    slow = [pytest.param(platform, shared, False, marks=SLOW) for shared in axes]
    return [(platform, (), True), *slow]


def assert_outputs_and_gradients_are_the_formulas(key, call):
    floating, options = data(call)
    got, cotangent = run(key, floating, options)
    wanted = expected(key, floating, options, cotangent)
    assert_close(got, wanted, {"rtol": 2e-5, "atol": 2e-5})


def assert_heads_in_bfloat16_are_the_formulas(key, features):
    arrays = formula.inputs(1, 20, 36, 2, 1, features)
    floating = {
        name: jax.device_put(x.astype(jnp.bfloat16)) for name, x in arrays.items()
    }
    got, cotangent = run(key, floating, {"is_causal": True})
    assert got[0].dtype == jnp.bfloat16
    wanted = expected(key, floating, {"is_causal": True}, cotangent)
    assert_close(got, wanted, {"rtol": 0.03, "atol": 0.03})


def assert_mask_is_the_exported_one(key, broadcast_dims, light):
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


def assert_a_large_bias_does_not_overflow(key):
    """Queries that fill up the last block have the largest logit of all."""
    arrays = formula.inputs(1, 20, 36, 2, 1, 16)
    cotangent = np.random.default_rng(1).normal(size=arrays["query"].shape)
    both = both_passes(key, {})
    found, plain = (
        both(
            arrays | {"bias": np.full((1, 1, 1, 36), bias, "float32")},
            cotangent.astype("float32"),
        )[1]
        for bias in (200, 0)
    )
    for name, gradient in plain.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-3, err_msg=name)
