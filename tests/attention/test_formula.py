"""However it is masked, shared, cut or rounded: the result is the formula's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
PAIRS = [  # each level of a factor with each level of each other
    ("none", "none", "grouped", "more keys", None, "float32"),
    ("none", "mask", "grouped", "more queries", 8, "bfloat16"),
    ("none", "lengths", "each", "more queries", None, "float16"),
    ("none", "bias", "each", "more keys", (16, 8), "float32"),
    ("none", "bias", "one", "equal", (16, 8), "bfloat16"),
    ("causal", "none", "one", "more queries", (16, 8), "bfloat16"),
    ("causal", "mask", "each", "more keys", None, "bfloat16"),
    ("causal", "mask", "one", "more keys", (16, 8), "float16"),
    ("causal", "lengths", "one", "equal", 8, "float32"),
    ("causal", "bias", "grouped", "equal", None, "bfloat16"),
    ("window", "none", "each", "equal", 8, "float16"),
    ("window", "mask", "each", "equal", (16, 8), "float32"),
    ("window", "lengths", "grouped", "more keys", (16, 8), "bfloat16"),
    ("window", "bias", "grouped", "more keys", 8, "float16"),
    ("window", "bias", "one", "more queries", None, "float32"),
]


def test_the_selection_covers_all_pairs():
    for (i, first), (j, second) in itertools.combinations(enumerate(FACTORS), 2):
        chosen = {(row[i], row[j]) for row in PAIRS}
        assert chosen == set(itertools.product(first, second))


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
        name: jnp.asarray(x)
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


@pytest.mark.parametrize(
    "masking, dynamic, heads, lengths, block, dtype",
    [row for row in PAIRS if row[-1] != "float32"],  # others with their gradients
)
def test_outputs_are_the_formulas(key, masking, dynamic, heads, lengths, block, dtype):
    arrays = arguments(dynamic, heads, lengths, dtype)
    attend, floating = ours(key, arrays, masking, block)
    assert_as_exact_as_the_formula(jax.jit(attend)(floating), arrays, key, masking)


def assert_output_and_gradients_are_the_formulas(key, arrays, masking, block):
    attend, floating = ours(key, arrays, masking, block)
    shape, dtype = arrays["query"].shape, arrays["query"].dtype
    cotangent = np.cos(np.arange(np.prod(shape))).reshape(shape).astype(dtype)

    @jax.jit
    def run(floating, cotangent):
        output, pull = jax.vjp(attend, floating)
        return output, pull(cotangent)[0]

    output, got = run(floating, cotangent)
    assert_as_exact_as_the_formula(output, arrays, key, masking)
    single, double = (
        plain(arrays, d, formula.gradients, key, masking, cotangent.astype(d))
        for d in (np.float32, np.float64)
    )
    assert got.keys() == double.keys()
    for name, gradient in got.items():
        rounded = single[name].astype(gradient.dtype)
        # A query that sees one key has a gradient of 0, of which roundings are left.
        allowed = 1e-7 * np.linalg.norm(double["value"])
        allowed += 2 * error(rounded, double[name])
        assert error(gradient, double[name]) <= allowed, name


@pytest.mark.parametrize(
    "row", [row for row in PAIRS if row[-1] == "float32"], ids=lambda row: row[:3]
)
def test_outputs_and_gradients_are_the_formulas(key, row):
    masking, dynamic, heads, lengths, block, dtype = row
    arrays = arguments(dynamic, heads, lengths, dtype)
    assert_output_and_gradients_are_the_formulas(key, arrays, masking, block)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 22), (2, 1, 37, 1), (1, 4, 37, 22), (2, 4, 1, 22)], ids=str
)
@pytest.mark.parametrize("masking, block", [("causal", (16, 8)), ("window", None)])
def test_mask_lengths_and_bias_at_once(key, masking, block, shape):
    arrays = arguments("all", "grouped", "more queries", "float32")
    arrays["bias"] = np.random.default_rng(2).normal(size=shape).astype("float32")
    assert_output_and_gradients_are_the_formulas(key, arrays, masking, block)


def test_tiles_need_not_divide_a_pane(key):
    arrays = arguments("none", "grouped", "equal", "float32")
    assert_output_and_gradients_are_the_formulas(key, arrays, "causal", (16, 8))


@pytest.mark.slow
@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("dynamic", DYNAMIC)
def test_all_combinations_give_the_formulas_output(key, masking, dynamic):
    for heads, lengths, block in itertools.product(*FACTORS[2:5]):
        arrays = arguments(dynamic, heads, lengths, "float32")
        attend, floating = ours(key, arrays, masking, block)
        assert_as_exact_as_the_formula(jax.jit(attend)(floating), arrays, key, masking)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in PAIRS if row[-1] != "float32"], ids=lambda row: row[:3]
)
def test_gradients_in_half_precision_are_the_formulas(key, row):
    masking, dynamic, heads, lengths, block, dtype = row
    arrays = arguments(dynamic, heads, lengths, dtype)
    assert_output_and_gradients_are_the_formulas(key, arrays, masking, block)
