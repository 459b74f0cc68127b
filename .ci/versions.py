"""Versions: the row of a table for the ones installed, or constraints to the lowest."""

import importlib.metadata
import pathlib
import platform
import re
import sys
import tomllib
from collections.abc import Iterator

PACKAGES = {
    "JAX": "jax",
    "jaxlib": "jaxlib",
    "Flax": "flax",
    "Optax": "optax",
    "NumPy": "numpy",
}
"""The columns after Python's."""

PYPROJECT = pathlib.Path(__file__).parents[1] / "pyproject.toml"


def header() -> Iterator[str]:
    """The two lines with which the table begins, in Markdown."""
    columns = ["Python", *PACKAGES]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"


def row() -> Iterator[str]:
    """The versions installed beside the Python that runs this."""
    versions = map(importlib.metadata.version, PACKAGES.values())
    yield f"| {' | '.join([platform.python_version(), *versions])} |"


def lowest() -> Iterator[str]:
    """A constraint for pip for each requirement of pyproject.toml, extras included.

    Raises:
      ValueError: if a requirement has no lowest version.
    """
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in sorted({one for group in groups for one in group}):
        if requirement.startswith(f"{project['name']}["):
            continue
        bound = re.fullmatch(r"([\w.-]+)(?:\[.*\])?[>=]=([\d.]+)", requirement)
        if not bound:
            raise ValueError(f"{requirement!r} does not say its lowest version by >=")
        yield "==".join(bound.groups())


if __name__ == "__main__":
    print(*{"header": header, "row": row, "lowest": lowest}[sys.argv[1]](), sep="\n")
