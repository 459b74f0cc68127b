"""Series can be distinguished: by protanopes and deuteranopes, and without colour."""

import color_vision
import numpy as np
import pytest

from jaxdrop import plots

NAMES = [f"run {i}" for i in range(60)]
PAGES = ("#ffffff", "#131416")  # paper, and the dark theme of the site


def colors():
    """Those of all series, and that of the baseline."""
    found = plots.styles([*NAMES, "none"])
    return list(dict.fromkeys(style["color"] for style in found.values()))


def test_differences_are_those_of_the_published_table():
    """Three pairs of the test data of Sharma, Wu and Dalal (2005)."""
    for one, other, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ):
        found = color_vision.difference(np.array(one), np.array(other))
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("vision", color_vision.VISIONS)
def test_colors_differ_from_each_other_and_from_the_page(vision):
    shown = [*colors(), *PAGES]
    lab = color_vision.seen(shown, vision)
    away = color_vision.difference(lab[:, None], lab[None])
    apart = away[np.triu_indices(len(shown), 1)]
    assert apart.min() > 14, apart.min()


@pytest.mark.parametrize("page", PAGES)
def test_lines_have_the_contrast_that_graphics_need(page):
    found = color_vision.contrast(colors(), page)
    assert found.min() >= 3, dict(zip(colors(), found, strict=True))


def test_many_series_are_not_repeated():
    found = list(plots.styles(NAMES).values())
    for keys, number in ((("color", "linestyle"), 24), (("color", "marker"), 42)):
        pairs = {tuple(style[key] for key in keys) for style in found[:number]}
        assert len(pairs) == number
    assert len({style["linestyle"] for style in found[:4]}) == 4  # without colour


def test_none_is_grey_and_dashed_wherever_it_stands():
    alone = plots.styles(["dropout", "L2"])
    for names in (["none", "dropout", "L2"], ["dropout", "none", "L2"]):
        found = plots.styles(names)
        assert found["none"]["linestyle"] == "--"
        assert len(set(found["none"]["color"][i : i + 2] for i in (1, 3, 5))) == 1
        assert {name: found[name] for name in alone} == alone


def test_a_string_is_not_a_list_of_names():
    with pytest.raises(TypeError, match="names must be a list of names, got"):
        plots.styles("none")
