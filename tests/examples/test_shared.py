"""What the examples share: files, tables, command lines; and that they do share it."""

import argparse
import csv
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from comparison import study_report
from study import arguments, files, words
from study.files import WriteError
from study.tables import new_table

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
ROOMS = [path for path in EXAMPLES.rglob("*.py") if path.parent.name != "study"]


def refused(constant):
    raise ValueError(f"{constant} is not JSON")


def strictly(path):
    """The content of a file, as readers other than Python's see it."""
    return json.loads(path.read_text(), parse_constant=refused)


def test_json_holds_no_constants_that_strict_readers_refuse(tmp_path):
    path = tmp_path / "a.json"
    content = {
        "array": np.array([[1.0, np.nan], [np.inf, -np.inf]], np.float32),
        "scalar": np.float64("nan"),
        "nested": [{"number": float("nan")}, (np.int32(3), True, None, "NaN [1,  2]")],
    }
    files.write_json(path, content)
    assert strictly(path) == {
        "array": [[1.0, None], [None, None]],
        "scalar": None,
        "nested": [{"number": None}, [3, True, None, "NaN [1,  2]"]],
    }


def test_a_study_that_diverged_is_written_as_json(tmp_path):
    path = tmp_path / "results.json"
    about = {"title": "a title", "learning_rate": float("inf")}
    study_report.write_json(path, about, [{"error": np.array([0.5, np.nan])}])
    expected = {"title": "a title", "learning_rate": None}
    assert strictly(path) == expected | {"results": [{"error": [0.5, None]}]}


def test_numbers_have_six_digits_and_short_lists_one_line(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": np.full(3, 1 / 3), "b": 2})
    text = (tmp_path / "a.json").read_text()
    assert text == '{\n "a": [ 0.333333, 0.333333, 0.333333 ],\n "b": 2\n}\n'
    rows = [("name", 1, np.float32(1 / 3), True), ("other", np.int64(2), 0.5, "")]
    files.write_csv(tmp_path / "a.csv", ("a", "b", "c", "d"), rows)
    with (tmp_path / "a.csv").open() as file:
        found = list(csv.reader(file))
    assert found[1:] == [["name", "1", "0.333333", "True"], ["other", "2", "0.5", ""]]


def write_json(path):
    files.write_json(path, {"a": 1})


def write_csv(path):
    files.write_csv(path, ("a",), [(1,)])


def save(path):
    files.save(Figure(), path.with_suffix(".png"))


@pytest.mark.parametrize("write", [write_json, write_csv, save])
def test_every_file_is_written_whole_or_not_at_all(write, tmp_path, monkeypatch):
    write(tmp_path / "new" / "a.txt")
    (path,) = (tmp_path / "new").iterdir()
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "new" / "a.txt")
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    with pytest.raises(WriteError, match=r"Could not write results: .* not written"):
        write(path / "below_a_file" / "a.txt")


ALONE = re.compile(
    r"json\.dump|csv\.writer|\.savefig\(|write_text\(|\bTable\(|ddof=1|ArgumentParser\("
)


@pytest.mark.parametrize("path", ROOMS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_files_tables_and_errors_come_from_one_place(path):
    if path.name != "train_step.py":  # which can be copied as it is
        assert not ALONE.findall(path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_can_be_read_from_top_to_bottom(path):
    assert len(path.read_text().splitlines()) <= 190


KINDS = {
    "count": (["1", "300"], ["0", "-1", "1.5", "many", ""]),
    "seed": (["0", "4294967295"], ["-1", "4294967296", "0.5"]),
    "positive": (["1e-3", "2"], ["0", "-1", "inf", "nan", "much"]),
    "rate": (["0", "0.999"], ["1", "-0.1", "nan", "half"]),
}


@pytest.mark.parametrize("name", KINDS)
def test_values_are_taken_or_refused_with_a_sentence(name, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--value", type=getattr(arguments, name))
    taken, not_taken = KINDS[name]
    for text in taken:
        assert parser.parse_args([f"--value={text}"]).value == float(text)
    for text in not_taken:
        with pytest.raises(SystemExit):
            parser.parse_args([f"--value={text}"])
        said = capsys.readouterr().err
        assert "argument --value: must be a" in said and f"got {text}" in said


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_folder_that_cannot_be_written_to_is_refused_at_once(
    path, tmp_path, monkeypatch, capsys
):
    if path.name == "train_step.py":
        pytest.skip("It writes nothing.")
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setattr("sys.argv", [path.name, "--output", str(file / "below")])
    script = importlib.import_module(path.stem)
    with pytest.raises(SystemExit) as caught:
        getattr(script, "parse", script.main)()
    assert caught.value.code == 2
    assert f"{file} is a file: name a folder" in capsys.readouterr().err


def test_a_mean_has_an_error_where_there_are_several_values():
    assert words.with_error([0.1, 0.3], digits=1, scale=100) == "20.0±10.0"
    assert words.with_error([0.5], digits=2) == "0.50"


def test_columns_of_words_start_at_the_left():
    table = new_table("t", ("method", "error"), columns=(["a", "b"], ["1", "2"]))
    assert [column.justify for column in table.columns] == ["left", "right"]
    assert table.row_count == 2
