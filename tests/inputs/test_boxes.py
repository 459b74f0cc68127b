"""Boxes in images: what fills them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import inputs


@pytest.mark.parametrize("fill", [-1, 300, 0.5, np.nan, np.inf, np.array([0, 256, 0])])
def test_a_fill_that_the_dtype_cannot_hold_is_refused(key, fill):
    images = jnp.ones((2, 8, 8, 3), jnp.uint8)
    with pytest.raises(ValueError, match=r"fill must be whole numbers in \[0, 255\]"):
        inputs.cutout(key, images, size=3, fill=fill)
    filled = inputs.cutout(key, images, size=3, fill=np.array([0, 128, 255.0]))
    assert filled.dtype == jnp.uint8
    assert {0, 128, 255} <= set(np.unique(filled).tolist())


@pytest.mark.parametrize("shape", [(2,), (1, 2, 8, 8, 3)])
def test_a_fill_that_does_not_broadcast_is_refused(key, shape):
    images = jnp.ones((2, 8, 8, 3))
    fills = (
        lambda fill: inputs.cutout(key, images, size=3, fill=fill),
        lambda fill: inputs.random_erasing(key, images, rate=0.5, fill=fill),
    )
    for erase in fills:
        with pytest.raises(ValueError, match=r"fill of shape .* does not broadcast"):
            erase(np.ones(shape))
        erase(np.ones((8, 1, 1)))  # one for each row


@pytest.mark.parametrize(
    "dtype, fill",
    [
        *((jnp.float16, 1e5), (jnp.float32, 1e39), (jnp.float32, 10**40)),
        *((jnp.uint8, 2**40), (jnp.int32, 2**31), (jnp.int8, [1.5])),
        (jnp.float32, "white"),
    ],
)
def test_a_fill_beyond_the_dtype_is_refused_by_name(key, dtype, fill):
    with pytest.raises((TypeError, ValueError), match="cutout: fill"):
        inputs.cutout(key, jnp.ones((2, 8, 8, 1), dtype), size=3, fill=fill)


def test_fills_of_every_type_are_numbers(key):
    x = jnp.zeros((2, 8, 8, 1))
    for fill in (2**40, np.int64(2**40), np.float64(2**40), Fraction(2**40)):
        for filled in (
            inputs.cutout(key, x, size=3, fill=fill),
            inputs.random_erasing(key, x, rate=1.0, fill=fill),
        ):
            assert set(np.unique(filled)) == {0, 2.0**40}
    assert jnp.isinf(inputs.cutout(key, x, size=3, fill=-np.inf)).any()


def test_a_fill_is_real_where_the_images_are():
    key, images = jax.random.key(0), jnp.ones((1, 4, 4, 1))
    cut = lambda x: inputs.cutout(key, x, size=2, fill=np.complex64(1j))
    with pytest.raises(TypeError, match="fill must hold real numbers like x"):
        cut(images)
    assert (cut(images.astype(jnp.complex64)) == 1j).any()
