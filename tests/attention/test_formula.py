"""However it is masked, shared, cut or rounded: the result is the formula's."""

import itertools

import jax
import numpy as np
import pytest
from attention import formula
from attention.cases import (
    FACTORS,
    arguments,
    assert_as_exact_as_the_formula,
    error,
    ours,
    plain,
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
        # Compiled quickly, programs round to half precision at more places.
        allowed += 3 * error(rounded, double[name])
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


def test_tiles_need_not_divide_a_strip(key):
    arrays = arguments("none", "grouped", "equal", "float32")
    assert_output_and_gradients_are_the_formulas(key, arrays, "causal", (16, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in PAIRS if row[-1] != "float32"], ids=lambda row: row[:3]
)
def test_gradients_in_half_precision_are_the_formulas(key, row):
    masking, dynamic, heads, lengths, block, dtype = row
    arrays = arguments(dynamic, heads, lengths, dtype)
    assert_output_and_gradients_are_the_formulas(key, arrays, masking, block)
