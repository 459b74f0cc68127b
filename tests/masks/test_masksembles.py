"""The masks of Masksembles: their size, overlap and seed."""

import itertools

import numpy as np
import pytest

import jaxdrop
from jaxdrop._masks import _masksembles


@pytest.mark.parametrize(
    "features, num_masks, scale",
    [(64, 4, 2.0), (10, 4, 3.0), (100, 8, 1.5), (512, 4, 6.0), (7, 1, 3.0), (3, 2, 99)],
)
def test_masks_have_one_size_and_leave_no_feature_unused(features, num_masks, scale):
    masks = jaxdrop.masks.masksembles(0, features, num_masks, scale)
    assert masks.shape == (num_masks, features) and masks.dtype == bool
    assert len(set(masks.sum(axis=1))) == 1
    assert masks.any(axis=0).all()


def test_the_scale_sets_the_size_and_the_overlap():
    """A mask keeps features / (s (1 - (1 - 1/s)^n)), and two share 1/s of that."""
    for scale in (1.5, 2.0, 4.0):
        masks = jaxdrop.masks.masksembles(1, 2000, 4, scale)
        kept = masks[0].sum()
        assert kept == pytest.approx(
            2000 / (scale * (1 - (1 - 1 / scale) ** 4)), rel=0.01
        )
        shared = [(a & b).sum() / kept for a, b in itertools.combinations(masks, 2)]
        assert np.mean(shared) == pytest.approx(1 / scale, rel=0.06)


def test_scale_one_keeps_everything():
    assert jaxdrop.masks.masksembles(0, 20, 3, 1.0).all()


def test_masks_are_constants_of_a_seed():
    first = jaxdrop.masks.masksembles(3, 40, 4, 2.0)
    _masksembles._drawn.cache_clear()
    np.testing.assert_array_equal(jaxdrop.masks.masksembles(3, 40, 4, 2.0), first)
    assert (jaxdrop.masks.masksembles(4, 40, 4, 2.0) != first).any()
    with pytest.raises(ValueError, match="read-only"):
        first[0] = True


def test_a_scale_that_no_masks_can_have_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"scale must be at most .* for 2 masks of 8"):
        jaxdrop.masks.masksembles(0, 8, 2, 1e9)
    monkeypatch.setattr(_masksembles, "_TRIES", 0)
    with pytest.raises(
        ValueError,
        match=r"4 masks of scale 2\.0 that cover exactly 63 .* were not found",
    ):
        jaxdrop.masks.masksembles(987, 63, 4, 2.0)
