"""Rates that pages give for a technique are those of its docstring."""

import inspect
import pathlib
import re

import pytest

import jaxdrop
from jaxdrop import inputs, nnx, penalties

DOCS = pathlib.Path(__file__).parents[2] / "docs"
RATE = re.compile(r"\b0\.\d+\b")
LINKS = re.compile(r"\]\([^)]*\)")
PAGES = sorted(path for path in (DOCS / "gallery").glob("*.md") if path.stem != "index")
CELLS = {  # pages of modules that have no function
    "recurrent_dropout": nnx.RecurrentDropoutLSTMCell,
    "variational_cell": nnx.VariationalCell,
}
TABLES = ("choose.md", "guides/attention.md")
ROWS = [
    row
    for page in TABLES
    for row in (DOCS / page).read_text().split("\n")
    if row.startswith("|") and RATE.search(LINKS.sub("", row))
]


def rates_of_docstring(thing) -> set[str]:
    """The rates in the section ``Usage:``, or in all of a docstring without one."""
    words = inspect.getdoc(thing)
    section = re.search(r"^Usage:\n(.*?)\n\n", words, re.MULTILINE | re.DOTALL)
    return set(RATE.findall(section.group(1) if section else words))


def technique(name):
    for namespace in (jaxdrop, inputs, penalties, nnx, jaxdrop.linen):
        if hasattr(namespace, name):
            return getattr(namespace, name)
    return CELLS[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_gallery_gives_the_rates_of_docstrings(page):
    section = re.search(r"## Usage\n(.*?)\n## ", page.read_text(), re.DOTALL)
    given = set(RATE.findall(LINKS.sub("", section.group(1))))
    assert given <= rates_of_docstring(technique(page.stem))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:30])
def test_tables_give_the_rates_of_docstrings(row):
    _, _, techniques, *_ = row.split("|")
    names = re.findall(r"`(\w+)", techniques)
    assert names, "the second column names techniques"
    known = {rate for name in names for rate in rates_of_docstring(technique(name))}
    assert set(RATE.findall(LINKS.sub("", row))) <= known
