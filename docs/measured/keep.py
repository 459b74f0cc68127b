"""Keeps measured results for the first page of the site, with how they were measured.

    python examples/compare_regularizers.py
    python benchmarks/dropout.py
    python docs/measured/keep.py

Run all three in one environment on one machine. The site is built from these files, and
``gains.svg``, the README's figure, is drawn anew, as by ``python -m docs.figures``.
Options name other commands than those above, which the pictures then say, and other
files.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "examples")]

from docs import figures  # noqa: E402
from study import files  # noqa: E402

COMMANDS = {
    "gains": "python examples/compare_regularizers.py",
    "dropout": "python benchmarks/dropout.py",
}


def keep(name: str, source: pathlib.Path, command: str) -> None:
    """Writes a result beside this file."""
    content = json.loads(source.read_text())
    if "versions" not in content:  # of a benchmark
        content |= files.surroundings()
    content |= {"command": command}
    files.write_json(HERE / f"{name}.json", content)


def main() -> None:
    """Keeps both files and draws the picture of the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, command in COMMANDS.items():
        results = pathlib.Path("results") / f"{name}.json"
        parser.add_argument(f"--{name}", type=pathlib.Path, default=results)
        parser.add_argument(f"--{name}-command", default=command)
    options = vars(parser.parse_args())
    for name in COMMANDS:
        keep(name, options[name], options[f"{name}_command"])
    figures.write(["measured/gains.svg"])


if __name__ == "__main__":
    main()
