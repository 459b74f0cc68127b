"""Cutout and random erasing: what the boxes are like and where they lie."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chance import assert_frequency, assert_uniform_counts
from jaxdrop import inputs
from jaxdrop.inputs._boxes import Layout
from jaxdrop.inputs._random_erasing import _sides

MANY = 4000


def holes(y):
    """Which pixels of the images are erased; asserts that all channels agree."""
    erased = np.asarray(y == 0)
    assert (erased == erased[..., :1]).all()
    return erased[..., 0]


def extents(erased):
    """The first and last erased row and column of each image with a hole."""
    rows, columns = erased.any(axis=2), erased.any(axis=1)
    top, left = rows.argmax(axis=1), columns.argmax(axis=1)
    bottom = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    right = columns.shape[1] - columns[:, ::-1].argmax(axis=1)
    return top, bottom, left, right


@pytest.mark.parametrize("size", [1, 4, 5, (3, 6)])
def test_a_hole_is_a_box_around_a_uniform_pixel(key, size):
    x = jnp.ones((MANY, 8, 10, 2))
    erased = holes(inputs.cutout(key, x, size=size))
    top, bottom, left, right = extents(erased)
    filled = (bottom - top) * (right - left)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), filled)
    height, width = (size, size) if isinstance(size, int) else size
    whole = (top > 0) & (bottom < 8)  # not cut off at the border
    assert ((bottom - top)[whole] == height).all() and whole.any()
    whole = (left > 0) & (right < 10)
    assert ((right - left)[whole] == width).all() and whole.any()
    # Every pixel is a center equally often: count the boxes by their place.
    centers_down = np.where(top > 0, top + height // 2, bottom - height + height // 2)
    assert_uniform_counts(np.bincount(centers_down, minlength=8))
    centers_across = np.where(left > 0, left + width // 2, right - width + width // 2)
    assert_uniform_counts(np.bincount(centers_across, minlength=10))


def test_a_hole_at_the_border_is_cut_off(key):
    erased = holes(inputs.cutout(key, jnp.ones((MANY, 8, 8, 1)), size=4))
    assert erased.sum(axis=(1, 2)).min() == 2 * 2
    assert erased.sum(axis=(1, 2)).max() == 4 * 4


def test_each_example_has_its_own_holes_and_as_many_as_asked(key):
    erased = holes(inputs.cutout(key, jnp.ones((300, 16, 16, 1)), size=1, num_holes=3))
    counts = erased.sum(axis=(1, 2))
    assert counts.max() == 3 and counts.mean() > 2.9
    assert len({row.tobytes() for row in erased}) > 290


def test_the_axes_of_a_hole_are_stated_not_guessed(key):
    first = inputs.cutout(key, jnp.ones((3, 2, 8, 8)), size=3, channel_axis=1)
    assert (first == first[:, :1]).all() and (first == 0).any()
    last = inputs.cutout(key, jnp.ones((3, 8, 8, 2)), size=3)
    np.testing.assert_array_equal(first[:, 0], last[..., 0])
    line = inputs.cutout(key, jnp.ones((5, 20, 3)), size=4, num_spatial_dims=1)
    assert (line == line[..., :1]).all()
    assert ((line[..., 0] == 0).sum(axis=1) <= 4).all()
    volume = inputs.cutout(key, jnp.ones((6, 6, 6, 1)), size=2, num_spatial_dims=3)
    assert 1 <= (volume == 0).sum() <= 8
    batches = inputs.cutout(key, jnp.ones((2, 3, 8, 8, 1)), size=3)
    assert len({np.asarray(b).tobytes() for b in batches.reshape(6, 8, 8, 1)}) > 3


def test_holes_are_filled_as_told(key):
    x = jnp.zeros((2, 8, 8, 3))
    y = inputs.cutout(key, x, size=4, fill=jnp.array([1.0, 2.0, 3.0]))
    pixels = np.unique(np.asarray(y).reshape(-1, 3), axis=0)
    np.testing.assert_array_equal(pixels, [[0, 0, 0], [1, 2, 3]])


@pytest.mark.parametrize("size, num_holes", [(0, 1), ((2, 2, 2), 1), (3, 0)])
def test_holes_that_make_no_sense_are_refused(key, size, num_holes):
    with pytest.raises(ValueError, match="cutout: size must be 2 positive integers"):
        inputs.cutout(key, jnp.ones((2, 8, 8, 1)), size=size, num_holes=num_holes)


@pytest.mark.parametrize(
    "knobs, named",
    [
        ({"size": 2.7}, "size must be an integer, got 2.7"),
        ({"size": (2.7, 3)}, "size must be an integer, got 2.7"),
        ({"size": None}, "size must be an integer, got None"),
        ({"size": 3, "num_holes": 1.5}, "num_holes must be an integer, got 1.5"),
        ({"size": 3, "num_holes": True}, "num_holes must be an integer, got True"),
    ],
)
def test_holes_are_counted_in_whole_pixels(key, knobs, named):
    with pytest.raises(TypeError, match=f"cutout: {named}"):
        inputs.cutout(key, jnp.ones((2, 8, 8, 1)), **knobs)


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


def test_erasing_refuses_complex_images(key):
    with pytest.raises(TypeError, match=r"^random_erasing: the input must be real"):
        inputs.random_erasing(key, jnp.ones((2, 8, 8, 1), complex), rate=0.5)


# Random erasing.


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


@pytest.mark.parametrize("size", [2**31, 2**40, np.int64(2**62), 10**30])
def test_a_hole_of_any_size_covers_the_image(key, size):
    assert (inputs.cutout(key, jnp.ones((3, 8, 8, 1)), size=size) == 0).all()


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


@pytest.mark.parametrize(
    "knobs",
    [
        *({"area": (0.5, 0.1)}, {"area": (0.0, 0.1)}, {"area": (0.1, 0.2, 0.3)}),
        *({"area": 0.2}, {"aspect": (2.0, 1.0)}, {"aspect": (1.0, np.inf)}),
    ],
)
def test_boxes_that_make_no_sense_are_refused(key, knobs):
    with pytest.raises(ValueError, match="random_erasing: area must be two shares"):
        inputs.random_erasing(key, jnp.ones((2, 8, 8, 1)), rate=0.5, **knobs)
    with pytest.raises(ValueError, match="fill must be one of"):
        inputs.random_erasing(key, jnp.ones((2, 8, 8, 1)), rate=0.5, fill="white")
