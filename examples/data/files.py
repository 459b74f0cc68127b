"""Where the files of a data set are."""

import os
from pathlib import Path

VARIABLE = "JAXDROP_DATA"


class DataError(ValueError):
    """The data cannot be given; the message says what to do about it."""


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
