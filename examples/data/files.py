"""Where the files of a data set are, and how results are written."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "JAXDROP_DATA"


class DataError(ValueError):
    """The data cannot be given; the message says what to do about it."""


class WriteError(SystemExit):
    """Results could not be written; uncaught, it ends a program with its message."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is written replaces ``path`` at the end.

    So a file is whole or as it was before, whatever happens meanwhile.

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


def find(folder: str, *names: str, data_dir: str | Path | None = None) -> list[Path]:
    """Finds the files of a data set.

    Args:
      folder: the folder of the data set.
      *names: its files.
      data_dir: the folder that holds the folders of all data sets; by default the
        environment variable ``JAXDROP_DATA``.

    Returns:
      The paths, one for each name.

    Raises:
      DataError: if a file is missing; the message says what to put where.
    """
    root = data_dir or os.environ.get(VARIABLE)
    if not root:
        raise DataError(
            f"{folder} needs local files: put {_listed(names)} into a folder named "
            f"{folder}, and name the folder around it with --data-dir or the "
            f"environment variable {VARIABLE}."
        )
    paths = [Path(root).expanduser() / folder / name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{folder} is not complete: put {_listed(missing)} into "
            f"{Path(root).expanduser() / folder}, or name another folder with "
            f"--data-dir or the environment variable {VARIABLE}."
        )
    return paths


def _listed(names: list[str] | tuple[str, ...]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
