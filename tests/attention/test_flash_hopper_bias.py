"""The gradient of a bias in the kernels of Hopper GPUs, interpreted."""

import jax.numpy as jnp
from attention.hopper import assert_formula, needs_interpreter
from attention.hopper import calls as calls

pytestmark = needs_interpreter


def test_a_bias_is_added_and_its_gradient_is_summed(calls, key):
    """Over heads and queries; other shapes are in ``test_flash_hopper.py``."""
    assert_formula(calls, key, "bias of few keys", jnp.float16)
