"""Modules that drop channels and blocks: their functions, with every knob."""

import jax.numpy as jnp
import numpy as np
import pytest
from modules.regions import CASES, X

import jaxdrop


@pytest.mark.parametrize("name", CASES)
def test_every_knob_reaches_the_function(name, key):
    function, knobs = CASES[name]
    module = getattr(jaxdrop.linen, name)(0.4, **knobs)
    expected = function(key, X, rate=0.4, **knobs)
    np.testing.assert_array_equal(module.apply({}, X, False, key), expected)
    other = module.clone(channel_axis=-1)
    assert (other.apply({}, X, False, key) != expected).any()


@pytest.mark.parametrize("name", CASES)
def test_axes_that_are_not_given_are_asked_for_by_the_first_call(name, key):
    module = getattr(jaxdrop.linen, name)(0.4)
    with pytest.raises(ValueError, match="pass num_spatial_dims=1 for"):
        module.apply({}, jnp.ones((2, 6, 3)), False, key)
