"""What is particular to Masksembles: fixed masks, each on its part of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def test_each_part_of_the_batch_gets_its_mask_and_nothing_is_rescaled():
    x = jax.random.normal(jax.random.key(0), (6, 5, 8))
    masks = jaxdrop.masks.masksembles(0, 8, 3, 2.0)
    y = jaxdrop.masksembles(x, masks)
    expected = np.where(np.repeat(masks, 2, axis=0)[:, None], x, 0)
    np.testing.assert_array_equal(y, expected)
    moved = jaxdrop.masksembles(jnp.swapaxes(x, 1, 2), masks, axis=1)
    np.testing.assert_array_equal(jnp.swapaxes(moved, 1, 2), expected)


def test_a_repeated_batch_gives_every_sub_network():
    masks = jaxdrop.masks.masksembles(0, 8, 4, 2.0)
    x = jax.random.normal(jax.random.key(0), (3, 8))
    members = jaxdrop.masksembles(jnp.tile(x, (4, 1)), masks).reshape(4, 3, 8)
    for mask, member in zip(masks, members, strict=True):
        np.testing.assert_array_equal(member, np.where(mask, x, 0))


def test_dropped_features_pass_neither_nan_nor_gradient():
    masks = jnp.array([[True, False], [False, True]])
    x = jnp.array([[1.0, jnp.nan], [jnp.inf, 2.0]])
    y = jaxdrop.masksembles(x, masks)
    np.testing.assert_array_equal(y, [[1.0, 0.0], [0.0, 2.0]])
    gradient = jax.grad(lambda x: jaxdrop.masksembles(x, masks).sum())(x)
    np.testing.assert_array_equal(gradient, masks.astype(jnp.float32))


def test_rejects_masks_that_do_not_fit():
    masks = jaxdrop.masks.masksembles(0, 8, 3, 2.0)
    with pytest.raises(ValueError, match="3 masks do not divide a batch of 4"):
        jaxdrop.masksembles(jnp.ones((4, 8)), masks)
    with pytest.raises(ValueError, match=r"must have shape \(num_masks, 9\)"):
        jaxdrop.masksembles(jnp.ones((3, 9)), masks)
    with pytest.raises(ValueError, match=r"axis must be .* got 0, that of the batch"):
        jaxdrop.masksembles(jnp.ones((3, 8)), masks, axis=0)
    with pytest.raises(TypeError, match="must be boolean"):
        jaxdrop.masksembles(jnp.ones((3, 8)), masks.astype(np.float32))
    with pytest.raises(ValueError, match="at least one mask"):
        jaxdrop.masksembles(jnp.ones((3, 8)), masks[:0])
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        jaxdrop.masks.masksembles(-1, 8, 3, 2.0)
    for wrong in ((0, 0, 4, 2.0), (0, 8, 0, 2.0), (0, 8, 4, 0.5), (0, 8, 4, np.nan)):
        with pytest.raises(ValueError, match="must be positive"):
            jaxdrop.masks.masksembles(*wrong)
