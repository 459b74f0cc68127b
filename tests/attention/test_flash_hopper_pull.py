"""Gradients in the kernels of Hopper GPUs, interpreted: of wide heads."""

import jax.numpy as jnp
from attention.hopper import assert_formula, needs_interpreter
from attention.hopper import calls as calls

pytestmark = needs_interpreter


def test_gradients_of_wide_heads_are_the_formulas(calls, key):
    assert_formula(calls, key, "short", jnp.float16, batch=1)
