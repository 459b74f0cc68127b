"""Writing results: whole files or none, and JSON that strict readers accept.

Benchmarks write theirs by it too, and need no matplotlib.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import math
import os
import platform
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DIGITS = 6
_STRING_OR_LIST = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^][{}"]*\]')


class WriteError(SystemExit):
    """Results could not be written; uncaught, it ends a program with its message."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is written replaces ``path`` at the end.

    So a file is whole or as it was before, even if the process is killed.

    Args:
      path: the file; its folder is made if there is none.

    Raises:
      WriteError: if the disk is full, or the file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        kept = "is as it was before" if path.exists() else "was not written"
        raise WriteError(f"Could not write results: {error}. {path} {kept}.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """The same as lists, dicts and Python's numbers, as JSON holds them.

    Args:
      value: numbers, strings, arrays, and dicts, lists, tuples and dataclasses of
        these.

    Returns:
      Numbers are rounded to six digits. NaN and infinity, for which JSON has no
      notation, become None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def surroundings() -> dict[str, str]:
    """What results that are measured now depend on: versions, the kind of machine."""
    packages = {"JAX": "jax", "Flax": "flax"}
    found = [f"{name} {metadata.version(of)}" for name, of in packages.items()]
    return {
        "machine": f"{os.cpu_count()} CPU cores, {platform.system()} "
        f"{platform.machine()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *found]),
    }


def write_json(path: Path, content: Any) -> None:
    """Writes numbers, arrays, dicts and lists, as :func:`plain` makes them."""
    text = json.dumps(plain(content), indent=1, allow_nan=False)
    text = _STRING_OR_LIST.sub(_on_one_line, text)
    with replacing(path) as partial:
        partial.write_text(text + "\n")


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Writes what was measured as JSON, with the versions and the machine."""
    write_json(path, content | surroundings())


def _on_one_line(found: re.Match[str]) -> str:
    """An innermost list of numbers without line breaks; a string as it is."""
    text = found[0]
    return text if text.startswith('"') else " ".join(text.split())


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Writes a table; fractions have six digits.

    Args:
      path: the file.
      header: the names of the columns.
      rows: a value for each column.
    """
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    value = value.item() if hasattr(value, "item") else value
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else value


def write_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes arrays under their names, as NPZ, for :func:`read_arrays`.

    Args:
      path: the file, ``.npz``.
      arrays: by name, which is not ``settings``.
      settings: what they follow from, as JSON has it; numbers are not rounded.
    """
    text = np.array(json.dumps(settings or {}))
    with replacing(path) as partial:
        np.savez(partial, settings=text, **arrays)


def read_arrays(
    path: Path, *, error: type[Exception]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what :func:`write_arrays` has written: the arrays, and their settings.

    Args:
      path: the file.
      error: what is raised if it was cut short, with a sentence that says so.
    """
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            arrays = {name: file[name] for name in file.files}
            return arrays, json.loads(str(arrays.pop("settings", "{}")))
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as found:
        raise error(
            f"{path} was cut short ({found}); remove it, and start the run again."
        ) from None


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a picture, whose kind is the ending of ``path``."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)
