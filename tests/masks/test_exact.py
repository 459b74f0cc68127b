"""Masks that drop an exact number of entries."""

import jax
import jax.numpy as jnp
import numpy as np

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
