r"""The tables and sentences of pages that come from the files in this folder.

    python docs/measured/study_tables.py keep size results/size-mnist/results.json \
        --command "python examples/compare_regularizers.py --study size --dataset mnist"
    python docs/measured/study_tables.py write

The files in ``compiled`` are what ``benchmarks/compiled.py --json`` writes; a table of
``compiler_tables`` may be of several of them.
``keep`` copies a results file to ``docs/measured/studies``, with the command that it
comes from; several files become a list. They name the versions and the machine that
they were measured with. ``write`` writes each table and the sentences below it, which
compare methods, between its two comments in the page of results, and the answer of the
comparison in the README and on the first page of the site. A test fails if a page holds
anything else.
"""

import argparse
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import compiler_tables
import image_tables
import other_tables
from pieces import HERE, Content

from study import files

DOCS = HERE.parent
PAGES = (
    DOCS / "results.md",
    DOCS / "guides" / "accelerators.md",
    DOCS / "index.md",
    DOCS.parent / "README.md",
)
_BLOCK = re.compile(r"<!-- table: (\S+) -->\n(?:.*?\n)??<!-- /table -->", re.DOTALL)


_SURROUNDINGS = ("machine", "versions")
_FILES = {"answer": "gains"}  # where a block does not have the name of its file


def read(name: str) -> Any:
    """The content of the file of this folder that a block comes from, or of files."""
    if name in compiler_tables.TABLES:
        _, stems = compiler_tables.TABLES[name]
        return [_content(f"compiled/{stem}") for stem in stems]
    return _content(_FILES.get(name, name))


def _content(file: str) -> Content:
    return json.loads((HERE / f"{file}.json").read_text())


TABLES: dict[str, Callable[[Any], str]] = {
    **{name: table for name, (table, _) in compiler_tables.TABLES.items()},
    "answer": image_tables.conclusion,
    "gains": image_tables.comparison,
    "dropout": other_tables.dropout,
    "studies/rate": image_tables.by_rate,
    "studies/size": image_tables.size,
    "studies/table_9": image_tables.table_9,
    "studies/uci": other_tables.uci,
    "studies/uci_long": other_tables.uci,
    "studies/ensemble": image_tables.ensemble,
    "studies/pairs": image_tables.methods,
    "studies/residual": image_tables.residual,
    "studies/underfit": image_tables.residual,
    "studies/active": other_tables.active,
    "studies/lstm": other_tables.text,
    "studies/transformer": other_tables.text,
    "studies/one_pass": other_tables.text,
}


def written(page: str) -> str:
    """The page, with every table as its file says."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        table = TABLES[name](read(name))
        return f"<!-- table: {name} -->\n{table}\n<!-- /table -->"

    return _BLOCK.sub(block, page)


def keep(name: str, sources: list[pathlib.Path], command: str) -> None:
    """Copies results here, with how they were measured."""
    found = [json.loads(source.read_text()) for source in sources]
    content = found[0] if len(found) == 1 else {"runs": found} | surroundings(found)
    content |= {"command": command}
    if missing := [name for name in _SURROUNDINGS if not content.get(name)]:
        raise SystemExit(
            f"The results do not name their {' and '.join(missing)}, as those of older "
            "versions of the examples; run the command again."
        )
    files.write_json(HERE / "studies" / f"{name}.json", content)


def surroundings(runs: list[Content]) -> Content:
    """Where several runs were measured; the runs say nothing of it then.

    Raises:
      SystemExit: if they were measured by other versions, or on other machines.
    """
    found = [{name: run.pop(name, None) for name in _SURROUNDINGS} for run in runs]
    if any(one != found[0] for one in found):
        raise SystemExit(f"The files were not measured alike: {found}.")
    return found[0]


def main() -> None:
    """Keeps a results file, or writes all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(required=True, dest="action")
    keeping = actions.add_parser("keep", help="copy a results file")
    keeping.add_argument("name", help="what it is called here")
    keeping.add_argument("sources", type=pathlib.Path, nargs="+")
    keeping.add_argument("--command", required=True, help="what has written it")
    actions.add_parser("write", help="write all pages")
    args = parser.parse_args()
    if args.action == "keep":
        keep(args.name, args.sources, args.command)
    else:
        for page in PAGES:
            text = written(page.read_text())
            with files.replacing(page) as partial:
                partial.write_text(text)


if __name__ == "__main__":
    main()
