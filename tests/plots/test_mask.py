"""Masks are shown as they are."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.cases import RNG

from jaxdrop import plots


def test_masks_are_shown_as_they_are():
    kept = RNG.random((5, 4, 6)) < 0.7
    figure = plots.mask(kept)
    assert len(figure.axes) == 5
    for ax, panel in zip(figure.axes, kept, strict=True):
        np.testing.assert_array_equal(ax.get_images()[0].get_array(), panel)
        assert ax.get_title() == f"{100 * (1 - panel.mean()):.3g} % dropped"
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["kept", "dropped"]
    assert not plots.mask(kept, key=False).legends
    with pytest.raises(ValueError, match="1, 2 or 3 axes"):
        plots.mask(kept[None])
    with pytest.raises(ValueError, match="5 panels do not fit one ax"):
        plots.mask(kept, ax=Figure().subplots())


@pytest.mark.parametrize(("size", "shape"), [(6, (1, 6)), (48, (1, 48)), (49, (2, 32))])
def test_a_mask_of_one_axis_is_wrapped_into_rows(size, shape):
    kept = RNG.random(size) < 0.7
    (ax,) = plots.mask(kept).axes
    shown = ax.get_images()[0].get_array()
    assert shown.shape == shape
    np.testing.assert_array_equal(shown.ravel()[:size], kept)
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown)).sum() == shown.size - size
    assert ax.get_title() == f"{100 * (1 - kept.mean()):.3g} % dropped"
    if shape[0] > 1:
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert labels == ["0", "32"]


def test_a_large_mask_has_no_lines_between_its_entries():
    small, large = (plots.mask(np.ones((n, n), bool)).axes[0] for n in (4, 65))
    lines = [len(ax.get_xticks(minor=True)) for ax in (small, large)]
    assert lines == [3, 0]
