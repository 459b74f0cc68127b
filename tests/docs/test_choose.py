"""The table of docs/choose.md is made from the uses that pages of the gallery state."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in (DOCS / "gallery").glob("*.md") if page.stem != "index")

FOUR = "| layer | technique | rate | source |"
SOURCE = "[Li 2020](https://a.org)"
ROW = f"| dense | 0.5 | {SOURCE} |\n"


@pytest.fixture
def choose(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import choose

    return choose


def page_of(
    places="2",
    columns="| layer | rate | source |",
    rows=ROW,
    rule=None,
):
    rule = rule or re.sub(r"[^|]+", "---", columns)
    above = f"# A title\n\n## Usage\n\n<!-- choose: {places} -->\n\n"
    return f"{above}{columns}\n{rule}\n{rows}\nMore.\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_states_uses_of_names_that_it_documents(choose, page):
    documented = page.read_text().split("\nAPI: ")[1]
    for use in choose.read(page):
        assert f"](gallery/{page.name})" in str(use)
        for name in re.findall(r"`(\w+)`", use.technique):
            assert f".{name}`" in documented, f"the page does not link to {name}"


def test_the_table_is_one_in_the_order_of_places_with_the_uses_without_a_page(choose):
    text = (DOCS / "choose.md").read_text()
    lines = choose.filled(DOCS / "choose.md").split("\n")
    start = lines.index(choose.HEAD.split("\n")[0]) + 2
    rows = lines[start : lines.index("", start)]
    uses = sorted(use for page in PAGES for use in choose.read(page))
    assert rows[: len(uses)] == [str(use).rstrip() for use in uses]
    assert rows[len(uses) :] and all(row in text for row in rows[len(uses) :])
    assert [use.place for use in uses] == sorted(use.place for use in uses)
    assert rows[0].startswith("| input ") and rows[-1].startswith(
        "| labels in the loss"
    )


def test_rows_of_a_page_go_to_their_places_with_links_to_it(choose, tmp_path):
    (tmp_path / "gallery").mkdir()
    page = tmp_path / "choose.md"
    page.write_text(f"# Choose\n\n{choose.HEAD}| loss | `c` | 1 | none |\n\nMore.\n")
    (tmp_path / "gallery" / "b.md").write_text(page_of("10"))
    rows = (
        f"| input | `A` or `b_c`, once | 0.1 | {SOURCE}, §2 |\n"
        f"| dense | `A` | no rate | {SOURCE} |\n"
    )
    (tmp_path / "gallery" / "a.md").write_text(page_of("9.5, 10", FOUR, rows))
    (tmp_path / "gallery" / "index.md").write_text("# Gallery\n")
    assert choose.filled(page) == (
        f"# Choose\n\n{choose.HEAD}"
        "| input | [`A`](gallery/a.md) or [`b_c`](gallery/a.md), once | 0.1 "
        f"| {SOURCE}, §2 |\n"
        f"| dense | [`A`](gallery/a.md) | no rate | {SOURCE} |\n"
        f"| dense | [`b`](gallery/b.md) | 0.5 | {SOURCE} |\n"
        "| loss | `c` | 1 | none |\n\nMore.\n"
    )


@pytest.mark.parametrize(
    "text, fault",
    [
        ("# A title\n\n## Usage\n\nAt 0.5.\n", "the section has another form"),
        (page_of("first"), "the section has another form"),
        (page_of(rows=""), "the section has another form"),
        (page_of(rule="dense"), "the section has another form"),
        (page_of(rows="dense, 0.5\n"), "the section has another form"),
        (page_of(rows=f"{ROW}| input | 0.2 | {SOURCE}\n"), "the section has another"),
        (page_of("1.2.3"), "could not convert string to float: '1.2.3'"),
        (page_of("1, 2"), "it has 2 places for 1 rows"),
        (page_of(columns="| place | rate | source |"), r"its columns are \('place', "),
        (page_of(rows="| dense | 0.5 |\n"), "a cell is missing, empty or too many in"),
        (page_of(rows=f"| | 0.5 | {SOURCE} |\n"), "a cell is missing, empty or"),
        (page_of(rows=f"| a | b | c | {SOURCE} |\n"), "a cell is missing, empty or"),
        (page_of(rows="| dense | 0.5 | Li 2020 |\n"), "no source is linked in"),
        (
            page_of("2", FOUR, f"| a | dropout | 0.5 | {SOURCE} |\n"),
            "no technique is named in '| a | dropout",
        ),
    ],
)
def test_a_page_without_its_uses_is_refused_by_its_name(choose, tmp_path, text, fault):
    path = tmp_path / "cutoff.md"
    path.write_text(text)
    expected = (
        rf"docs/gallery/cutoff\.md: {fault}.* Below '## Usage' the page must have"
    )
    with pytest.raises(ValueError, match=expected):
        choose.read(path)


def test_a_page_without_the_table_is_refused(choose, tmp_path):
    (tmp_path / "gallery").mkdir()
    (tmp_path / "choose.md").write_text("# Choose\n\n| a |\n|---|\n")
    with pytest.raises(ValueError, match=r"docs/choose\.md must have one table"):
        choose.filled(tmp_path / "choose.md")
