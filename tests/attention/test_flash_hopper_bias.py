"""The gradient of a bias in the kernels of Hopper GPUs, interpreted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from attention.hopper import (
    assert_formula,
    cotangent_of,
    in_kernels,
    needs_interpreter,
    recorded,
)
from attention.hopper import calls as calls

pytestmark = needs_interpreter


def test_a_bias_is_added_and_its_gradient_is_summed(calls, key):
    """Over heads and queries; other shapes are in ``test_flash_hopper.py``."""
    assert_formula(calls, key, "bias of few keys", jnp.float16)


@pytest.mark.slow
def test_the_gradient_of_one_number_for_each_head_is_summed(calls, key):
    """That of the sums of weights, since outputs do not depend on such a bias."""
    arrays = formula.inputs(2, 70, 80, 2, 2, 40)
    floating = {name: jnp.asarray(x, jnp.bfloat16) for name, x in arrays.items()}
    floating["bias"] = jnp.ones((1, 2, 1, 1))
    call, operands = recorded(calls, key, floating, {})
    change = cotangent_of(jnp.zeros((2, 2, 70)))

    @jax.jit
    def run(operands):
        found = in_kernels(call, operands, "attend")
        nothing = jnp.zeros_like(found["output"])
        given = operands | found | {"d_output": nothing, "d_weights": change}
        return found["weights"], in_kernels(call, given, ("bias",))["bias"]

    weights, gradient = run(operands)
    expected = np.einsum("bnt,bnt->n", weights, change)
    np.testing.assert_allclose(gradient[0, :, 0, 0], expected, rtol=1e-3)
