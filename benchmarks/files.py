"""Writing results whole or not at all, as the examples do: long runs are cut off."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "examples"))

from study.files import replacing, write_json

__all__ = ["replacing", "write_json"]
