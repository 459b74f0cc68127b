"""All combinations of which test_formula.py chooses some, at single precision."""

import itertools

import jax
import pytest
from attention.cases import (
    DYNAMIC,
    FACTORS,
    MASKINGS,
    arguments,
    assert_as_exact_as_the_formula,
    ours,
)


@pytest.mark.slow
@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("dynamic", DYNAMIC)
def test_all_combinations_give_the_formulas_output(key, masking, dynamic):
    for heads, lengths, block in itertools.product(*FACTORS[2:5]):
        arrays = arguments(dynamic, heads, lengths, "float32")
        attend, floating = ours(key, arrays, masking, block)
        assert_as_exact_as_the_formula(jax.jit(attend)(floating), arrays, key, masking)
