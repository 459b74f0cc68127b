"""What the examples share: files, tables, command lines; and that they do share it."""

import argparse
import importlib
import platform
import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from reading import content_of, rows_of

from study import arguments, files, words
from study.files import WriteError
from study.recipe import ImageRecipe
from study.tables import new_table
from text.recurrent import METHODS

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
ROOMS = [path for path in EXAMPLES.rglob("*.py") if path.parent.name != "study"]


def test_json_holds_no_constants_that_strict_readers_refuse(tmp_path):
    path = tmp_path / "a.json"
    content = {
        "array": np.array([[1.0, np.nan], [np.inf, -np.inf]], np.float32),
        "scalar": np.float64("nan"),
        "nested": [{"number": float("nan")}, (np.int32(3), True, None, "NaN [1,  2]")],
    }
    files.write_json(path, content)
    assert content_of(path) == {
        "array": [[1.0, None], [None, None]],
        "scalar": None,
        "nested": [{"number": None}, [3, True, None, "NaN [1,  2]"]],
    }


def test_a_study_that_diverged_is_written_as_json(tmp_path):
    path = tmp_path / "results.json"
    about = {"title": "a title", "learning_rate": float("inf")}
    results = [{"error": np.array([0.5, np.nan])}]
    files.write_results(path, about | {"results": results})
    expected = {"title": "a title", "learning_rate": None}
    expected |= {"results": [{"error": [0.5, None]}]} | files.surroundings()
    assert content_of(path) == expected
    assert (
        f"Python {platform.python_version()}, JAX {jax.__version__}"
        in (expected["versions"])
    )


def test_numbers_have_six_digits_and_short_lists_one_line(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": np.full(3, 1 / 3), "b": 2})
    text = (tmp_path / "a.json").read_text()
    assert text == '{\n "a": [ 0.333333, 0.333333, 0.333333 ],\n "b": 2\n}\n'
    rows = [("name", 1, np.float32(1 / 3), True), ("other", np.int64(2), 0.5, "")]
    files.write_csv(tmp_path / "a.csv", ("a", "b", "c", "d"), rows)
    first, second = rows_of(tmp_path / "a.csv")
    assert list(first.values()) == ["name", "1", "0.333333", "True"]
    assert second == {"a": "other", "b": "2", "c": "0.5", "d": ""}


def test_arrays_are_read_with_the_settings_that_they_follow_from(tmp_path):
    settings = {"rate": 1 / 3, "mesh": {"data": 8}}
    files.write_arrays(tmp_path / "a.npz", {"b/c": np.arange(3)}, settings=settings)
    arrays, found = files.read_arrays(tmp_path / "a.npz", error=ValueError)
    assert found == settings and arrays.keys() == {"b/c"}
    assert arrays["b/c"].tolist() == [0, 1, 2]


def write_json(path):
    files.write_json(path, {"a": 1})


def write_csv(path):
    files.write_csv(path, ("a",), [(1,)])


def write_arrays(path):
    files.write_arrays(path.with_suffix(".npz"), {"a": np.ones(2)})


def save(path):
    files.save(Figure(), path.with_suffix(".png"))


@pytest.mark.parametrize("write", [write_json, write_csv, write_arrays, save])
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
    r"json\.dump|csv\.writer|np\.savez|np\.load\(|\.savefig\(|write_text\("
    r"|\bTable\(|ddof=1|ArgumentParser\("
    r"|\"--(?:dataset|data-dir|train-size|epochs|seeds?)\""
)


@pytest.mark.parametrize("path", ROOMS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_files_tables_and_errors_come_from_one_place(path):
    if path.name != "train_step.py":  # which can be copied as it is
        assert not ALONE.findall(path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_can_be_read_from_top_to_bottom(path):
    assert len(path.read_text().splitlines()) <= 190


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_how_long_it_takes(path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [path.name, "--help"])
    script = importlib.import_module(path.stem)
    with pytest.raises(SystemExit):
        getattr(script, "parse", script.main)()
    said = capsys.readouterr().out
    times = re.compile(
        r"\d+ (s\b|seconds|minutes)|(about|half) a minute|[a-z]+ minutes"
    )
    assert times.search(script.__doc__)
    assert " ".join(script.__doc__.split()) in " ".join(said.split())
    assert "--quick" in said


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


REFUSED = {
    "active_learning": {
        "--strategies nothing": "invalid choice: 'nothing' (choose from",
        "--seeds 0": "whole number",
        "--budget 21 --step 479": "budget must be from 499",
        "--budget 25": "from 30 labels, a start of 20 and one round, to 490, got 25",
        "--budget 491": "from 30 labels, a start of 20 and one round, to 490, got 491",
        "--dataset mnist": "mnist needs local files",
    },
    "char_rnn": {
        "--methods nothing": "invalid choice: 'nothing' (choose from",
        "--train-size 999": "must be from 1000",
        "--rounds -1": "whole number",
        "--text nowhere/no.txt": "nowhere/no.txt cannot be read",
    },
    "char_transformer": {
        "--strength -1": "a number from 0 to 10, got -1",
        "--strength 20": "a number from 0 to 10, got 20",
        "--one-pass --train-size 2000 --rounds 2": "take at most 1 rounds, got 2",
        "--characters 0": "whole number",
        "--text nowhere/no.txt": "nowhere/no.txt cannot be read",
    },
    "compare_regularizers": {
        "--train-size 501": "must be from 1 to 500",
        "--study size --train-size 19": "must be at least that, got 19",
        "--study size --epochs 3": "leave --epochs out",
        "--study rate --dataset notmnist": "takes digits or mnist",
        "--study rate --methods none": "leave --methods out",
        "--study size --methods dropout": "leave --methods out",
        "--study table9 --methods none": "leave --methods out",
        "--study rate --strengths usual": "not options of a --study",
        "--strange letters": "takes --dataset mnist",
        "--methods nothing": "invalid choice: 'nothing' (choose from",
        "--dataset mnist": "mnist needs local files",
        "--dataset mnist --data-dir nowhere": "mnist is not complete",
    },
    "distributed": {
        "--steps 0": "whole number",
        "--model-shards 0": "whole number",
        "--num-processes 2": "the address of process 0",
    },
    "image_regularizers": {
        "--methods nothing": "invalid choice: 'nothing' (choose from",
        "--train-size 501": "must be from 1 to 500",
        "--epochs 0": "whole number",
        "--dataset mnist": "mnist needs local files",
    },
    "mc_dropout_regression": {
        "--rate 1": "a number from 0 to below 1, got 1",
        "--hidden 8 0": "whole number",
        "--beyond 0": "a number above 0",
        "--dataset co2": "co2 needs local files",
    },
    "mc_dropout_uci": {
        "--rate 1": "a number from 0 to below 1, got 1",
        "--tau 0": "a number above 0",
        "--batch-size 0": "whole number",
        "--seed -1": "whole number from 0",
        "--dataset yacht": "uci/yacht needs local files",
        "--dataset mine": "uci/mine needs local files",
    },
    "mc_dropout_uncertainty": {
        "--train-size 501": "must be from 1 to 500",
        "--repeats 0": "whole number",
        "--dataset mnist": "needs local files",
    },
    "train_step": {"--steps 0": "must be at least 1, got 0"},
}


def test_every_script_has_arguments_that_are_refused():
    assert REFUSED.keys() == {path.stem for path in SCRIPTS}


@pytest.mark.parametrize(
    ("name", "given"), [(name, given) for name in REFUSED for given in REFUSED[name]]
)
def test_bad_arguments_are_refused_with_a_sentence(name, given, monkeypatch, capsys):
    for variable in ("JAXDROP_DATA", "JAX_COORDINATOR_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.argv", [f"{name}.py", *given.split()])
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(name).main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert REFUSED[name][given] in said
    assert said.startswith("usage: ") or said.count("\n") == 1


def test_a_mean_has_an_error_where_there_are_several_values():
    assert words.with_error([0.1, 0.3], digits=1, scale=100) == "20.0±10.0"
    assert words.with_error([0.5], digits=2) == "0.50"


def test_an_error_that_is_not_zero_is_not_shown_as_zero():
    """Where the other rows of its column need fewer decimals."""
    columns = [[0.1, 0.3], [0.2, 0.2], [0.20001, 0.20003], None, [0.1, 0.4]]
    shown = words.with_errors(columns)
    assert shown == ["0.20±0.10", "0.20±0.00", "0.20±<0.01", "–", "0.25±0.15"]


def test_a_recipe_takes_what_is_given_and_keeps_the_rest():
    recipe = ImageRecipe(
        hidden=(8,), rates=(0.1, 0.2), batch_size=5, learning_rate=0.1, decay=0.9
    )
    assert recipe.given(epochs=None, decay=None) == recipe
    assert recipe.given(decay=0.0, epochs=3) == replace(recipe, decay=0.0, epochs=3)


def test_columns_of_words_start_at_the_left():
    table = new_table("t", ("method", "error"), columns=(["a", "b"], ["1", "2"]))
    assert [column.justify for column in table.columns] == ["left", "right"]
    assert table.row_count == 2


def test_rates_in_the_record_of_results_are_those_of_the_methods():
    path = EXAMPLES.parent / "docs" / "measured" / "studies" / "lstm.json"
    kept = {one["name"]: one["strength"] for one in content_of(path)["methods"]}
    assert kept == {method.name: method.strength for method in METHODS}
