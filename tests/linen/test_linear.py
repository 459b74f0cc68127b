"""Dense layers of Linen: the parameters, dtypes and bias of ``flax.linen.Dense``."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdrop

X = jnp.arange(12.0).reshape(2, 6)
OPTIONS = [
    {"use_bias": False, "kernel_init": nn.initializers.ones},
    {
        "param_dtype": jnp.bfloat16,
        "dtype": jnp.float32,
        "bias_init": nn.initializers.ones,
    },
    {"dtype": jnp.bfloat16},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_evaluation_is_dense_with_its_parameters(options, key):
    theirs, ours = (
        nn.Dense(4, **options),
        jaxdrop.linen.DropConnectDense(4, 0.5, deterministic=True, **options),
    )
    variables = theirs.init(key, X)
    chex.assert_trees_all_equal(ours.init(key, X), variables)
    y = ours.apply(variables, X)
    expected = theirs.apply(variables, X)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)
