"""Links of the README, of the site and of other Markdown lead somewhere."""

import inspect
import pathlib
import re
import urllib.parse

import pytest

import jaxdrop

ROOT = pathlib.Path(__file__).parents[2]
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?\s*\)")
NAMES = r"((?:[A-ZÀ-Ž][\w-]+(?: et al\.)?, )+)"  # of authors
ON_PAGES = re.compile(NAMES + r"\[[^\]]+\]\((http[^)]+)\)")
IN_DOCSTRINGS = re.compile(NAMES + r"`[^`<]+<(http[^>]+)>`_")
GENERATED = ("_pictures",)  # drawn while the site is built, which finds dead ones
PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if "api" not in page.parts
    ),
    *sorted((ROOT / "tests").rglob("*.md")),
]
IN_PAGES_OF_OTHERS = {
    "concrete_penalty": "concrete_dropout",
    "hard_concrete_penalty": "hard_concrete",
    "variational_penalty": "variational_dense",
    "variational_sparsity": "variational_dense",
}


def links_of(page: pathlib.Path) -> list[str]:
    """The targets of a page's links, without those in code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def headings_of(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as Sphinx and code hosts name them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page):
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        if "://" in link or any(part in path for part in GENERATED):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} does not exist"
        if anchor:
            assert anchor in headings_of(target), f"{link}: no such heading"


SOURCES = [
    path
    for folder in ("jaxdrop", "examples", "benchmarks", "docs")
    for kind in ("*.py", "*.md")
    for path in sorted((ROOT / folder).rglob(kind))
    if "api" not in path.parts and path.name != "conf.py"  # holds a pattern
]
ADDRESS = re.compile(r"https?://[^\s<>()`'\"{}\\\]]+")
FORMS = {  # what an address of these hosts looks like
    "arxiv.org": re.compile(r"/abs/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})"),
    "doi.org": re.compile(r"/10\.\d{4,}/\S+"),
}


def test_addresses_outside_are_well_formed():
    found = 0
    for path in [*ROOT.glob("*.md"), *SOURCES]:
        for address in ADDRESS.findall(path.read_text()):
            parts = urllib.parse.urlsplit(address.rstrip(".,;:"))
            where = f"{path.relative_to(ROOT)}: {address}"
            assert parts.scheme == "https", f"{where} is not https"
            assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc), where
            form = FORMS.get(parts.netloc)
            assert not form or form.fullmatch(parts.path), where
            found += 1
    assert found > 200


def test_each_technique_has_a_page_a_row_and_a_line(monkeypatch):
    """Its page in the gallery, its usual place and rate, its line of the changes."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import choose
    import gallery

    pages = {page.stem: page for page in gallery.pages_of(ROOT / "docs" / "gallery")}
    changes = (ROOT / "CHANGELOG.md").read_text()
    family = [
        name for name in jaxdrop.__all__ if inspect.isfunction(vars(jaxdrop).get(name))
    ]
    assert len(family) > 20
    for name in sorted(set(family) - IN_PAGES_OF_OTHERS.keys()):
        assert name in pages, f"docs/gallery/{name}.md is missing"
        rows = [use.technique for use in choose.read(pages[name])]
        assert f"`{name}`" in " ".join(rows), f"docs/gallery/{name}.md: no row of it"
        assert f"`{name}`" in changes, f"CHANGELOG.md has no line about {name}"


def authors_by_paper(pattern, text):
    """The longest list of authors that precedes each link."""
    found = {}
    for names, link in pattern.findall(" ".join(text.split())):
        authors = names.replace(" et al.", "").rstrip(", ").split(", ")
        found[link] = max(found.get(link, []), authors, key=len)
    return found


def test_the_gallery_names_the_authors_that_docstrings_name():
    source = (path.read_text() for path in sorted((ROOT / "jaxdrop").rglob("*.py")))
    expected = authors_by_paper(IN_DOCSTRINGS, "\n".join(source))
    compared = 0
    for page in sorted((ROOT / "docs" / "gallery").glob("*.md")):
        for link, authors in authors_by_paper(ON_PAGES, page.read_text()).items():
            assert expected[link][: len(authors)] == authors, (page.name, link)
            compared += 1
    assert compared > 30
