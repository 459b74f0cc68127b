"""Cutout: boxes around a uniform pixel, cut off at the border."""

import jax.numpy as jnp
import numpy as np
import pytest
from inputs.cases import MANY, extents, holes

from chance import assert_uniform_counts
from jaxdrop import inputs


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
    ones = lambda *shape: np.ones(shape, np.float32)
    cutout = lambda x, **knobs: np.asarray(inputs.cutout(key, x, **knobs))
    first = cutout(ones(3, 2, 8, 8), size=3, channel_axis=1)
    assert (first == first[:, :1]).all() and (first == 0).any()
    last = cutout(ones(3, 8, 8, 2), size=3)
    np.testing.assert_array_equal(first[:, 0], last[..., 0])
    line = cutout(ones(5, 20, 3), size=4, num_spatial_dims=1)
    assert (line == line[..., :1]).all()
    assert ((line[..., 0] == 0).sum(axis=1) <= 4).all()
    volume = cutout(ones(6, 6, 6, 1), size=2, num_spatial_dims=3)
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


@pytest.mark.whole
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


@pytest.mark.parametrize("size", [2**31, 2**40, np.int64(2**62), 10**30])
def test_a_hole_of_any_size_covers_the_image(key, size):
    assert (inputs.cutout(key, jnp.ones((3, 8, 8, 1)), size=size) == 0).all()
