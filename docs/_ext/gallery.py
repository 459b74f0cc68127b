"""The index of the gallery: a table for each of its sections, made from its pages.

A page begins with its section and its place there, ``<!-- gallery: Weights, 2 -->``,
followed by its title and a paragraph that sums it up. The index lists the sections in a
block ``{gallery}``, which is replaced while the site is built.
"""

import pathlib
import re
from typing import NamedTuple

INDEX = "gallery/index"
BLOCK = re.compile(r"^```\{gallery\}\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
PAGE = re.compile(
    r"<!-- gallery: (?P<section>.+), (?P<place>\d+(?:\.\d+)?) -->\n\n"
    r"# (?P<title>.+)\n\n(?P<summary>(?:.+\n)+)"
)


class Page(NamedTuple):
    """What the index says about a page."""

    section: str
    place: float
    name: str
    title: str
    summary: str


def read(path: pathlib.Path, sections: list[str]) -> Page:
    """Reads the beginning of a page.

    Raises:
      ValueError: if it does not begin with a section, a title and a summary.
    """
    found = PAGE.match(path.read_text())
    if not found or found["section"] not in sections:
        raise ValueError(
            f"docs/gallery/{path.name} must begin with "
            "'<!-- gallery: SECTION, PLACE -->', a title and a paragraph, with blank "
            f"lines between; SECTION is one of {sections}, PLACE a number."
        )
    summary = " ".join(found["summary"].split())
    place = float(found["place"])
    return Page(found["section"], place, path.stem, found["title"], summary)


def pages_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """The pages of techniques, in alphabetical order."""
    return sorted(path for path in folder.glob("*.md") if path.stem != "index")


def filled(index: pathlib.Path) -> str:
    """The text of the index, with a table of the pages of each section."""
    text = index.read_text()
    block = BLOCK.search(text)
    sections = block[1].splitlines()
    pages = sorted(read(path, sections) for path in pages_of(index.parent))
    parts = [part(s, [p for p in pages if p.section == s]) for s in sections]
    return text.replace(block[0], "\n".join(parts))


def part(section: str, pages: list[Page]) -> str:
    """A heading, a table and a hidden table of contents."""
    rows = [
        f"| [![](../_pictures/{page.name}.svg){{w=180px}}]({page.name}.md) "
        f"| {{doc}}`{page.title} <{page.name}>` | {page.summary} |"
        for page in pages
    ]
    table = ["| | technique | summary |", "|---|---|---|", *rows]
    contents = ["```{toctree}", ":hidden:", "", *(p.name for p in pages), "```"]
    return "\n".join([f"## {section}", "", *table, "", *contents, ""])


def fill(app: object, name: str, source: list[str]) -> None:
    """Fills the index as Sphinx reads it, and again after any of its pages changed."""
    if name == INDEX:
        index = pathlib.Path(app.srcdir) / f"{INDEX}.md"
        source[0] = filled(index)
        for path in pages_of(index.parent):
            app.env.note_dependency(str(path))


def setup(app: object) -> dict[str, bool]:
    """Registers the step with Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
