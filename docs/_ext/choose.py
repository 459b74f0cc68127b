"""The table of docs/choose.md: the uses of techniques, from their pages in the gallery.

The section Usage of a page begins with a row for each use, below the places of these
rows in the table, from the input of a network to its loss::

    <!-- choose: 8, 22.5 -->

    | layer | rate | source |
    |---|---|---|
    | dense layer | 0.5 | [Srivastava et al. 2014](LINK), §10 |
    | word embedding | 0.1 | [Gal & Ghahramani 2016](LINK) |

The technique is that of the page, unless a column ``technique`` before the rate names
it. The table of docs/choose.md holds the uses that have no page, and gets the others
while the site is built.
"""

import pathlib
import re
from typing import NamedTuple

from gallery import pages_of

COLUMNS = ("layer", "technique", "rate", "source")
HEAD = "| layer | technique | rate | source |\n|---|---|---|---|\n"
USAGE = re.compile(
    r"^## Usage\n\n<!-- choose: (?P<places>[\d., ]+) -->\n\n"
    r"(?P<columns>\|.+\|)\n\|[|: -]+\|\n(?P<rows>(?:\|.+\|\n)+)\n",
    re.MULTILINE,
)


class Use(NamedTuple):
    """A row of the table: its place there, and the page that states it."""

    place: float
    page: str
    layer: str
    technique: str
    rate: str
    source: str

    def __str__(self) -> str:
        """The row, in which names of techniques are links to the page."""
        link = rf"[`\1`](gallery/{self.page}.md)"
        technique = re.sub(r"`(\w+)`", link, self.technique)
        return f"| {self.layer} | {technique} | {self.rate} | {self.source} |\n"


def read(path: pathlib.Path) -> list[Use]:
    """Reads the uses that a page states.

    Raises:
      ValueError: if its section Usage does not begin with their places and rows.
    """
    try:
        found = USAGE.search(path.read_text())
        _check(found, "the section has another form")
        columns = _cells(found["columns"])
        short = tuple(name for name in COLUMNS if name != "technique")
        _check(columns in (COLUMNS, short), f"its columns are {columns}")
        places, rows = found["places"].split(", "), found["rows"].splitlines()
        counts = f"it has {len(places)} places for {len(rows)} rows"
        _check(len(places) == len(rows), counts)
        return [
            _use(path.stem, place, columns, row)
            for place, row in zip(places, rows, strict=True)
        ]
    except ValueError as error:
        raise ValueError(
            f"docs/gallery/{path.name}: {error}. Below '## Usage' the page must have "
            "'<!-- choose: PLACE, PLACE -->', a number for each row, and a table of "
            "'layer | rate | source' or 'layer | technique | rate | source', with "
            "blank lines around both; a row names `techniques` and links its source."
        ) from None


def _use(page: str, place: str, columns: tuple[str, ...], row: str) -> Use:
    """The use that a row states."""
    cells = _cells(row)
    whole = len(cells) == len(columns) and all(cells)
    _check(whole, f"a cell is missing, empty or too many in {row!r}")
    use = {"technique": f"`{page}`"} | dict(zip(columns, cells, strict=True))
    _check(re.search(r"`\w+`", use["technique"]), f"no technique is named in {row!r}")
    _check("](https://" in use["source"], f"no source is linked in {row!r}")
    return Use(float(place), page, **use)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line[1:-1].split("|"))


def _check(holds: object, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


def filled(page: pathlib.Path) -> str:
    """The text of docs/choose.md, with the uses that the gallery states."""
    text = page.read_text()
    if text.count(HEAD) != 1:
        raise ValueError(
            f"docs/choose.md must have one table that begins with {HEAD!r}."
        )
    uses = sorted(
        use for path in pages_of(page.parent / "gallery") for use in read(path)
    )
    before, after = text.split(HEAD)
    return before + HEAD + "".join(map(str, uses)) + after


def fill(app: object, name: str, source: list[str]) -> None:
    """Fills the table as Sphinx reads it, and again after any of the pages changed."""
    if name == "choose":
        page = pathlib.Path(app.srcdir) / "choose.md"
        source[0] = filled(page)
        for path in pages_of(page.parent / "gallery"):
            app.env.note_dependency(str(path))


def setup(app: object) -> dict[str, bool]:
    """Registers the step with Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
