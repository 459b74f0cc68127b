"""Calls of attention, their arguments, and what they are to give."""

import jax
import jax.numpy as jnp
import numpy as np
from attention import formula

import jaxdrop

RATE = 0.3
MASKINGS = {
    "none": {},
    "causal": {"is_causal": True},
    "window": {"local_window_size": (6, 3)},
    "causal window": {"is_causal": True, "local_window_size": 9},
}
DYNAMIC = ("none", "mask", "lengths", "bias")
KEY_HEADS = {"each": 4, "grouped": 2, "one": 1}
LENGTHS = {"equal": (33, 33), "more queries": (37, 22), "more keys": (21, 40)}
BLOCKS = (None, 8, (16, 8))
DTYPES = ("float32", "bfloat16", "float16")
FACTORS = (
    tuple(MASKINGS)[:3],
    DYNAMIC,
    tuple(KEY_HEADS),
    tuple(LENGTHS),
    BLOCKS,
    DTYPES,
)


def arguments(dynamic, heads, lengths, dtype):
    """Arrays of a call, by the names of the formula."""
    generator = np.random.default_rng(1)
    queries, keys = LENGTHS[lengths]
    arrays = formula.inputs(2, queries, keys, 4, KEY_HEADS[heads], 8)
    if dynamic in ("mask", "all"):
        arrays["mask"] = generator.random((2, 1, queries, keys)) < 0.4
    if dynamic in ("lengths", "all"):
        arrays["query_seq_lengths"] = np.int32([queries, queries // 2])
        arrays["key_value_seq_lengths"] = np.int32([keys // 3, keys])
    if dynamic in ("bias", "all"):
        arrays["bias"] = generator.normal(size=(1, 4, queries, keys)).astype("float32")
    return in_dtype(arrays, jnp.dtype(dtype))


def in_dtype(arrays, dtype):
    """Floating arrays in a dtype, others as they are."""
    floating = {jnp.dtype(name) for name in (*DTYPES, "float64")}
    return {
        name: x.astype(dtype) if x.dtype in floating else x
        for name, x in arrays.items()
    }


def ours(key, arrays, masking, block):
    """The function of the floating arrays that is to be the formula, and those."""
    masking = MASKINGS[masking]
    floating = {
        name: jax.device_put(x)
        for name, x in arrays.items()
        if name in ("query", "key", "value", "bias")
    }
    others = {name: x for name, x in arrays.items() if name not in floating}

    def attend(floating):
        rest = {**floating, **others}
        data = [rest.pop(name) for name in ("query", "key", "value")]
        return jaxdrop.dot_product_attention(
            key, *data, rate=RATE, block_size=block, **masking, **rest
        )

    return attend, floating


def plain(arrays, dtype, function, key, masking, *rest):
    """The formula in another dtype, with the mask that our library exports."""
    batch, queries, heads, _ = arrays["query"].shape
    shape = (batch, heads, queries, arrays["key"].shape[1])
    kept = np.asarray(jaxdrop.masks.bernoulli(key, shape, rate=RATE))
    wide = in_dtype(arrays, dtype)
    return function(wide, *rest, kept=kept, keep=1 - RATE, **MASKINGS[masking])


def error(a, b):
    return np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64))


def assert_as_exact_as_the_formula(got, arrays, key, masking):
    single, double = (
        plain(arrays, dtype, formula.attend, key, masking)
        for dtype in (np.float32, np.float64)
    )
    assert got.dtype == arrays["query"].dtype
    assert error(got, double) <= 2 * error(single.astype(got.dtype), double)
