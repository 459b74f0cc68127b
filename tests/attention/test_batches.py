"""Attention with any number of batch axes, in Flax's precision of products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention.flax_functions import FUNCTIONS, for_both, transparent

from jaxdrop._attention import batches


@for_both
def test_any_number_of_batch_axes_is_one(key, framework):
    arrays = [x.reshape(2, 1, *x.shape[1:]) for x in transparent()]
    arrays = [jnp.concatenate([x, 0.5 * x], axis=1) for x in arrays]
    mask = jnp.tril(jnp.ones((2, 1, 1, 16, 16), bool))
    options = {
        "dropout_rng": key,
        "dropout_rate": 0.4,
        "broadcast_dropout": False,
        "mask": mask,
    }
    ours, flaxs = (f(*arrays, **options) for f in FUNCTIONS[framework])
    assert ours.shape == (2, 2, 16, 4, 16)
    np.testing.assert_array_equal(ours > 0, flaxs > 0)


@for_both
@pytest.mark.parametrize("off", [True, False])
def test_a_precision_reaches_the_products(key, framework, off):
    ours, _ = FUNCTIONS[framework]
    options = {"dropout_rng": key, "dropout_rate": 0.1, "deterministic": off}
    options["precision"] = jax.lax.Precision.HIGHEST
    program = jax.jit(lambda *x: ours(*x, **options)).lower(*transparent())
    assert "precision = [HIGHEST, HIGHEST]" in program.as_text()


def test_a_precision_has_the_forms_that_flax_takes():
    high = jax.lax.Precision.HIGH
    for precision in (high, (high, high), "high"):
        with batches._precision(precision):
            assert jax.config.jax_default_matmul_precision == "high"
    assert batches._one_batch(jnp.ones((1, 1, 2, 3, 4)), (2, 3)).shape == (1, 2, 3, 4)
