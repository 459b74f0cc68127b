"""Masks that drop an exact number of entries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def test_exact_masks_nest_and_take_traced_numbers(key):
    exact = jax.jit(
        lambda count: jaxdrop.masks.exact(key, (50, 7), num_dropped=count, axis=0)
    )
    few, many = exact(10), exact(30)
    assert (few.sum(axis=0) == 40).all() and (many.sum(axis=0) == 20).all()
    assert not (many & ~few).any()
    assert exact(0).all() and not exact(50).any()


def test_the_indices_are_those_of_an_exact_mask(key):
    _, indices = jaxdrop.token_dropout(key, jnp.ones((4, 9, 1)), rate=1 / 3)
    mask = jaxdrop.masks.exact(key, (4, 9), num_dropped=3)
    assert (mask.sum(axis=-1) == 6).all()
    np.testing.assert_array_equal(indices, np.nonzero(mask)[1].reshape(4, 6))


def test_the_number_is_one_number_and_does_not_wrap(key):
    exact = lambda number: jaxdrop.masks.exact(key, (4, 9), num_dropped=number)
    for number in (jnp.array([1, 2]), jnp.ones((4, 1), jnp.int32)):
        with pytest.raises(ValueError, match="num_dropped must be a scalar, got"):
            exact(number)
    assert not exact(jnp.uint32(2**31 + 1)).any()
    assert exact(jnp.int32(-3)).all()
    assert (exact(jnp.uint8(3)).sum(-1) == 6).all()
    with pytest.raises(ValueError, match="shape must hold numbers below 2"):
        jaxdrop.masks.exact(key, (2**70,), num_dropped=1)
