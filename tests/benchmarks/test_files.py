"""Results of benchmarks are written whole or not at all, as those of examples are."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import files
import pytest

BENCHMARKS = Path(files.__file__).parent
OTHERS = sorted(set(BENCHMARKS.glob("*.py")) - {Path(files.__file__)})
FULL = Path("/dev/full")
IN_PLACE = re.compile(r"json\.dump|write_text\(|\.savefig\((?!partial)")


def test_a_file_is_there_at_once(tmp_path):
    with files.replacing(tmp_path / "a.json") as partial:
        partial.write_text("{}")
        place = partial.stat().st_ino
    assert (tmp_path / "a.json").stat().st_ino == place  # renamed, and not copied


@dataclasses.dataclass
class Timing:
    """A dataclass among the results."""

    median: float
    note: str


def test_dataclasses_are_written(tmp_path):
    path = tmp_path / "new" / "a.json"
    files.write_json(path, {"a": (1, 0.5), "b": [Timing(float("nan"), "x")]})
    expected = {"a": [1, 0.5], "b": [{"median": None, "note": "x"}]}
    assert json.loads(path.read_text()) == expected


def test_benchmarks_write_without_matplotlib():
    code = "import sys, files; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, check=True)


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_is_a_sentence(tmp_path):
    path = tmp_path / "a.json"
    for kept in ("was not written", "is as it was before"):
        message = rf"No space left.* {kept}\.$"
        with pytest.raises(SystemExit, match=message), files.replacing(path) as partial:
            partial.symlink_to(FULL)
            partial.write_text("{}")
        path.write_text("{}")
    with pytest.raises(SystemExit, match="was not written"):
        files.write_json(path / "b.json", {})  # a folder that is a file
    assert path.read_text() == "{}" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_no_benchmark_writes_in_place(path):
    assert not IN_PLACE.findall(path.read_text())
