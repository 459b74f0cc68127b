"""How our Dropout is compared with that of Flax."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest

RATES = [round(0.05 * i, 2) for i in range(1, 20)]
for_every_rate = pytest.mark.parametrize("rate", RATES)
for_every_dtype = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def assert_like_flax(ours, theirs) -> None:
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    if ours.dtype == jnp.float32:
        np.testing.assert_array_equal(ours, theirs)


def arguments(function) -> dict:
    return {n: p.default for n, p in inspect.signature(function).parameters.items()}
