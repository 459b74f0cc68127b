"""Results of benchmarks are written whole or not at all."""

import json
import re
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


def test_an_error_keeps_what_was_written_before(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.json"
    files.write_json(path, {"a": (1, 0.5)})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": [1, 0.5]}
    assert list(path.parent.iterdir()) == [path]


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
