"""Random erasing: how often, and boxes of which area and ratio."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs.cases import MANY, extents, holes

from chance import assert_frequency, assert_uniform_counts
from jaxdrop import inputs
from jaxdrop.inputs._boxes import Layout
from jaxdrop.inputs._random_erasing import _sides


def test_erasing_refuses_complex_images(key):
    with pytest.raises(TypeError, match=r"^random_erasing: the input must be real"):
        inputs.random_erasing(key, jnp.ones((2, 8, 8, 1), complex), rate=0.5)


def test_boxes_have_the_asked_areas_and_ratios_and_lie_inside(key):
    side = 64
    x = jnp.ones((MANY, side, side, 1))
    y = inputs.random_erasing(key, x, rate=1.0, area=(0.05, 0.2), fill=0.0)
    erased = holes(y)
    top, bottom, left, right = extents(erased)
    height, width = bottom - top, right - left
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), height * width)
    area = height * width / side**2
    rounding = 1.0 / height.min() + 1.0 / width.min()
    assert area.min() > 0.05 * (1 - rounding) and area.max() < 0.2 * (1 + rounding)
    ratio = height / width
    assert 0.25 < ratio.min() < 0.36 and 2.8 < ratio.max() < 4
    assert_frequency(ratio[ratio != 1] > 1, 0.5)  # as often high as wide
    # Even in area, between the smallest and the largest.
    assert_uniform_counts(np.histogram(area, bins=5, range=(0.06, 0.19))[0])
    # Even in place, given the height.
    place = top / np.maximum(side - height, 1)
    assert abs(place.mean() - 0.5) < 5 * place.std() / np.sqrt(MANY)


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_images_are_erased_at_the_rate(key, rate):
    x = jnp.ones((MANY, 8, 8, 1))
    y = inputs.random_erasing(key, x, rate=rate, fill=0.0)
    hit = (y == 0).any(axis=(1, 2, 3))
    if rate == 1:
        assert hit.all()
    else:
        assert_frequency(hit, rate)


def test_a_traced_rate_out_of_range_is_nan(key):
    erase = jax.jit(
        lambda rate: inputs.random_erasing(key, jnp.ones((2, 8, 8, 1)), rate=rate)
    )
    assert jnp.isnan(erase(1.5)).all() and jnp.isnan(erase(jnp.nan)).all()


def test_noise_fills_each_entry_anew(key):
    x = jnp.zeros((50, 32, 32, 3))
    y = np.asarray(inputs.random_erasing(key, x, rate=1.0))
    noise = y[(y != 0).all(axis=-1)]
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05
    numbers = inputs.random_erasing(key, x, rate=1.0, fill=jnp.array([1.0, 2.0, 3.0]))
    assert set(np.unique(numbers)) == {0, 1, 2, 3}


THIN = [(300, 5), (5, 300), (1, 1000), (1000, 1), (4, 4), (3, 3), (2, 2), (1, 7)]


@pytest.mark.parametrize("sides", THIN)
def test_at_a_rate_of_one_every_image_loses_a_box_of_its_area(key, sides):
    """However thin it is: the box gets another ratio, and at least one pixel."""
    x = jnp.ones((300, *sides, 1))
    erased = holes(inputs.random_erasing(key, x, rate=1.0, fill=0.0))
    top, bottom, left, right = extents(erased)
    count = erased.sum(axis=(1, 2))
    np.testing.assert_array_equal(count, (bottom - top) * (right - left))
    assert count.min() >= 1
    share = count / np.prod(sides)
    rounding = (bottom - top + 1) * (right - left + 1) / np.prod(sides)
    assert (share >= 0.02 * 0.4).all() and (share <= np.maximum(0.4, rounding)).all()
    if min(sides) == 1 and max(sides) > 100:  # one side is whole, the other exact
        assert abs(share.mean() - 0.21) < 5 * share.std() / np.sqrt(300)


def test_a_box_that_fits_is_not_changed(key):
    """Ratios are as asked for wherever one of ten boxes fits."""
    x = jnp.ones((MANY, 40, 60, 1))
    erased = holes(inputs.random_erasing(key, x, rate=1.0, fill=0.0))
    top, bottom, left, right = extents(erased)
    ratio = (bottom - top) / (right - left)
    assert 0.25 < ratio.min() < 0.36 and 2.8 < ratio.max() < 4


def test_the_nearest_box_to_one_that_never_fits_is_erased(key):
    x = jnp.ones((10, 4, 400, 1))
    knobs = {"rate": 1.0, "fill": 0.0, "area": (0.9, 0.9), "aspect": (1.0, 1.0)}
    erased = holes(inputs.random_erasing(key, x, **knobs))
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), 4 * 360)


def test_boxes_of_images_with_more_pixels_than_int32_counts():
    images = Layout((2**16, 2**16, 1), (0, 1), ())
    sides = _sides(images, jnp.float32(0.25), jnp.float32(1.0))
    assert [int(side) for side in sides] == [2**15, 2**15]


@pytest.mark.whole
@pytest.mark.parametrize(
    "knobs",
    [
        *({"area": (0.5, 0.1)}, {"area": (0.0, 0.1)}, {"area": (0.1, 0.2, 0.3)}),
        *({"area": 0.2}, {"aspect": (2.0, 1.0)}, {"aspect": (1.0, np.inf)}),
    ],
)
def test_boxes_that_make_no_sense_are_refused(key, knobs):
    (name,) = knobs
    with pytest.raises(ValueError, match=f"random_erasing: {name} must be two numbers"):
        inputs.random_erasing(key, jnp.ones((2, 8, 8, 1)), rate=0.5, **knobs)
    with pytest.raises(ValueError, match="fill must be one of"):
        inputs.random_erasing(key, jnp.ones((2, 8, 8, 1)), rate=0.5, fill="white")


def test_ends_that_are_traced_are_named_as_static(key):
    x = jnp.ones((2, 8, 8, 1))
    run = lambda low: inputs.random_erasing(key, x, rate=0.5, aspect=(low, 2.0))
    with pytest.raises(TypeError, match="aspect is static, and must be known before"):
        jax.jit(run)(1.0)
