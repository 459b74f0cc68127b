"""Every picture of the README and the site is drawn by one command."""

import json
import pathlib
import re
import sys
from xml.etree import ElementTree

import jax.numpy as jnp
import legible
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxdrop

TOP = pathlib.Path(__file__).parents[2]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]
IMAGE = re.compile(
    r"!\[[^\]]*\]\(([^)\s]+)"  # of Markdown
    r"|^:*`*\{(?:image|figure)\}\s+(\S+)"  # directives of MyST
    r"|<(?:img|source)\b[^>]*?\bsrc(?:set)?=[\"']([^\"'\s]+)",  # HTML
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOP))
        patch.syspath_prepend(str(DOCS / "_ext"))
        from docs import figures

        yield figures


def shown(page):
    """The files in this repository that a page shows as images."""
    found = ["".join(match) for match in IMAGE.findall(page.read_text())]
    inside = [link for link in found if not re.match(r"\w+:", link)]
    return {(page.parent / link).resolve() for link in inside}


def test_images_are_found_in_every_notation(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "![a](a.svg) [![b](b/b.png){w=1px}](page.md) ![c](https://x.org/c.svg)\n"
        "```{image} ../d.svg\n:alt: d\n```\n:::{figure} e.svg\n:::\n"
        "<img width='3' src=\"f.svg\">\n"
    )
    names = {path.name for path in shown(page)}
    assert names == {"a.svg", "b.png", "d.svg", "e.svg", "f.svg"}


def test_every_picture_is_drawn_by_the_command_and_shown(figures):
    drawn = {(DOCS / name).resolve() for name in figures.FIGURES}
    referenced = set().union(*map(shown, PAGES))
    assert {str(p.relative_to(TOP)) for p in referenced - drawn} == set()
    assert {str(p.relative_to(TOP)) for p in drawn - referenced} == set()


def text_of(path):
    return [
        "".join(node.itertext())
        for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_the_figure_of_the_readme_is_that_of_its_file(figures, monkeypatch, tmp_path):
    """Drawn again it says the same; coordinates differ with versions of matplotlib."""
    monkeypatch.setattr(figures, "HERE", tmp_path)
    figures.main(["measured/gains.svg"])
    again = text_of(tmp_path / "measured" / "gains.svg")
    assert len(again) > 10 and again == text_of(DOCS / "measured" / "gains.svg")


def test_gains_of_several_scores_have_panels_beside_the_time(
    figures, monkeypatch, tmp_path
):
    gain = {"gain": 0.5, "low": 0.1, "high": 0.9}
    both = {"error": gain, "NLL": gain | {"low": None, "high": None}}
    content = {
        **{
            "title": "a title",
            "baseline": "none",
            "level": 0.9,
            "units": {"error": "points", "NLL": "nats"},
        },
        **{"command": "python x.py", "machine": "2 CPU cores", "versions": "JAX 1"},
        "methods": [
            {"name": "dropout", "seconds": 2.0, "weight scaling": both},
            {"name": "none", "seconds": 4.0, "weight scaling": {"error": {"mean": 3}}},
        ],
    }
    content["methods"][0]["MC dropout"] = both
    (tmp_path / "gains.json").write_text(json.dumps(content))
    monkeypatch.setattr(figures.home, "MEASURED", tmp_path)
    figure = figures.home.home_gains()
    error, nll, seconds = figure.axes
    names = [label.get_text() for label in error.get_yticklabels()]
    assert names == ["dropout", "none"]
    assert error.get_xlabel().startswith("gain in error, points")
    assert nll.get_xlabel().startswith("gain in NLL, nats")
    assert [bar.get_width() for bar in seconds.patches] == [0.5, 1.0]
    texts = [text.get_text() for text in error.get_legend().get_texts()]
    assert texts == ["weight scaling", "MC dropout", "bar: 90 % interval"]
    figure.savefig(tmp_path / "gains.png")


@pytest.mark.parametrize(
    "name",
    [
        *("measured/gains.svg", "_pictures/home_time.svg", "_pictures/size.svg"),
        *("_pictures/zoneout.svg", "_pictures/locked_dropout.svg"),
    ],
)
def test_nothing_in_a_figure_is_cut_or_overprinted(figures, name):
    with mpl.rc_context(figures.canvas.STYLE):
        assert legible.faults(figures.FIGURES[name]()) == []


def test_masks_have_one_key(figures):
    figure = figures.FIGURES["_pictures/locked_dropout.svg"]()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["kept", "dropped"]


def shown_by(figure):
    return [ax.images[0].get_array() for ax in figure.axes]


def test_pictures_of_ordinary_techniques_are_derived(figures):
    derived = figures.pictures.DERIVED
    assert {"dropout", "gaussian_dropout"} <= derived.keys()
    for name, draw in derived.items():
        with mpl.rc_context(figures.canvas.STYLE):
            assert legible.faults(draw()) == [], name


def test_a_derived_picture_shows_the_draw_of_the_technique(figures):
    ordinary = figures.pictures.ordinary
    x, ones = figures.canvas.photograph(), jnp.ones((1, 96, 120))
    kept = np.asarray(jaxdrop.dropout(ordinary.KEY, ones, rate=ordinary.RATE)[0] > 0)
    before, mask, after = shown_by(ordinary.picture("dropout"))
    assert (before == x).all() and (mask == kept).all()
    assert (after == x * kept[..., None]).all() and 0 < kept.mean() < 1
    factors = jaxdrop.gaussian_dropout(ordinary.KEY, ones, rate=ordinary.RATE)[0]
    _, drawn, after = shown_by(ordinary.picture("gaussian_dropout"))
    np.testing.assert_array_equal(drawn, np.clip(factors / 2, 0, 1))
    np.testing.assert_allclose(after, np.clip(x * factors[..., None], 0, 1), atol=1e-6)
    assert len(shown_by(ordinary.picture("alpha_dropout"))) == 2, "it does not multiply"


@pytest.mark.parametrize(
    "name, why",
    [
        ("gaussian_noise", "jaxdrop.inputs.gaussian_noise"),
        ("embedding_dropout", "missing 1 required positional argument: 'ids'"),
        ("stochastic_depth", "all entries of the example have the same factor"),
        ("token_dropout", "shape"),
    ],
)
def test_a_technique_that_is_not_ordinary_is_asked_for_a_function(figures, name, why):
    form = rf"docs/gallery/{name}\.md needs a function {name} in docs/_ext/pictures"
    with pytest.raises(ValueError, match=rf"{form}.*{why}"):
        figures.pictures.ordinary.picture(name)


def test_a_figure_can_be_drawn_to_look_at(figures, tmp_path):
    figures.main(["_pictures/home_time.svg", "--png", str(tmp_path / "look")])
    (path,) = (tmp_path / "look").iterdir()
    assert path.name == "home_time.png"


def test_a_picture_is_written_whole_or_not_at_all(figures, monkeypatch, tmp_path):
    path = tmp_path / "a.svg"
    path.write_text("as it was")

    def killed(_, path, **__):
        path.write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", killed)
    with pytest.raises(KeyboardInterrupt):
        figures.canvas.save(Figure, path)
    assert path.read_text() == "as it was" and list(tmp_path.iterdir()) == [path]


def test_unknown_figures_are_refused_by_name(figures, capsys):
    with pytest.raises(SystemExit) as caught:
        figures.main(["measured/gain.svg"])
    assert caught.value.code == 2
    assert "measured/gain.svg is not a figure" in capsys.readouterr().err


def test_the_command_lists_its_figures(figures, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["figures", "--list"])
    figures.main()
    assert capsys.readouterr().out.split() == list(figures.FIGURES)
