"""The index of the gallery is made from its pages, each of which has a picture."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
INDEX = DOCS / "gallery" / "index.md"
PAGES = sorted(page for page in INDEX.parent.glob("*.md") if page != INDEX)


@pytest.fixture
def gallery(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import gallery

    return gallery


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_in_the_index_with_its_picture(gallery, page):
    import pictures

    text = gallery.filled(INDEX)
    assert text.count(f"[![](../_pictures/{page.stem}.svg)") == 1
    assert re.search(rf"^{page.stem}$", text, re.MULTILINE), "not in the contents"
    assert page.stem in pictures.DRAWINGS, "nothing draws it"
    assert f"../_pictures/{page.stem}.svg" in page.read_text(), "it does not show it"


def test_sections_are_those_of_the_index_and_none_is_empty(gallery):
    text = gallery.filled(INDEX)
    sections = text.split("\n## ")[1:]
    assert (
        len(sections) == len(gallery.BLOCK.search(INDEX.read_text())[1].split("\n")) - 1
    )
    assert all("| [![]" in section for section in sections)
    assert "{gallery}" not in text


def page_of(place="Weights, 2", title="# A title", summary="Does\nthis.\n"):
    return f"<!-- gallery: {place} -->\n\n{title}\n\n{summary}\nMore.\n"


def test_pages_are_in_the_order_of_their_places(gallery, tmp_path):
    index = tmp_path / "index.md"
    index.write_text("# Gallery\n\n```{gallery}\nWeights\nInputs\n```\n")
    for name, place in {
        "a": "Weights, 10",
        "b": "Inputs, 1",
        "c": "Weights, 9",
    }.items():
        (tmp_path / f"{name}.md").write_text(page_of(place))
    text = gallery.filled(index)
    assert re.findall(r"^## .*|^\w$", text, re.MULTILINE) == [
        *("## Weights", "c", "a", "## Inputs", "b")
    ]
    assert "| {doc}`A title <b>` | Does this. |" in text


@pytest.mark.parametrize(
    "text",
    [
        *(page_of("Weigths, 2"), page_of("Weights"), page_of("Weights, x")),
        *(page_of(title="A title"), page_of(summary=""), "# A title\n\nDoes this.\n"),
    ],
)
def test_a_page_without_a_place_is_refused_by_its_name(gallery, tmp_path, text):
    path = tmp_path / "cutoff.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"docs/gallery/cutoff\.md must begin with"):
        gallery.read(path, ["Weights"])
