"""What an example has printed or written, as a reader sees it."""

import csv
import io
import json

from rich.console import Console


def printed(*parts, width=100):
    """The text of tables, as a terminal of this width shows it."""
    console = Console(width=width, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()


def lines_of(table, width=100):
    """The words of each line of a table; empty lines are left out."""
    lines = (line.split() for line in printed(table, width=width).splitlines())
    return [line for line in lines if line]


def rows_of(path):
    """The rows of a CSV file, each by the names of its columns."""
    with path.open() as file:
        return list(csv.DictReader(file))


def content_of(path):
    """The content of a JSON file; NaN, which is not JSON, is refused."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)
