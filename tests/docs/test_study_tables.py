"""The tables of the page of results say what the measured files say."""

import json
import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "results.md").read_text()
MARKED = re.findall(r"<!-- table: (\S+) -->", PAGE)
FILES = sorted((DOCS / "measured" / "studies").glob("*.json"))


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "measured"))
    import study_tables

    return study_tables


def test_the_page_is_what_the_files_give(tables):
    assert tables.written(PAGE) == PAGE, (
        "docs/results.md and docs/measured differ: run "
        "python docs/measured/study_tables.py write"
    )


def test_every_file_is_on_the_page_once(tables):
    names = ["dropout", "gains", *(f"studies/{path.stem}" for path in FILES)]
    assert sorted(MARKED) == names
    assert set(MARKED) <= set(tables.TABLES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_how_it_was_measured_and_names_no_machine(path):
    found = json.loads(path.read_text())
    assert found["command"].startswith("python examples/")
    assert "CPU cores" in found["machine"] and "JAX " in found["versions"]
    for said in ("command", "machine", "versions"):
        assert " /" not in found[said], f"{said} holds a path of one machine"


@pytest.mark.parametrize("name", MARKED)
def test_a_changed_number_changes_the_table(tables, name):
    content = tables.read(name)
    changed = tables.TABLES[name](_doubled(content))
    assert changed != tables.TABLES[name](content)


def _doubled(value):
    """The same with every float that is not a setting twice as large."""
    if isinstance(value, dict):
        kept = ("recipe", "rates", "chosen", "strengths", "strength")
        return {k: v if k in kept else _doubled(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_doubled(item) for item in value]
    return 2 * value + 0.01 if isinstance(value, float) else value


def test_verdicts_are_those_of_the_files(tables):
    content = {
        "command": "python examples/x.py",
        "versions": "",
        "machine": "",
        "methods": [
            {
                "name": name,
                "strength": 0.2,
                "train_nll": [0.1, 0.2, 0.15],
                "test_nll": [0.2, 0.3, 0.25],
                "test_error": [0.10, 0.12, 0.11],
                "gain": gain,
            }
            for name, gain in (
                ("none", None),
                ("a", _gain("a", 0.02, 0.01, "better")),
                ("b", _gain("b", 0.01, 0.03, "not distinguishable")),
                ("c", _gain("c", -0.04, 0.01, "worse")),
            )
        ],
    }
    block = tables.timed(content)
    assert "better: a; worse: c; not distinguishable: b." in block
    assert "| a | 0.2 | 0.150 ± 0.029 | 11.0 ± 0.6 | 2.0 (1.0 to 3.0) |" in block


def _gain(name, estimate, half, verdict):
    low, high = estimate - half, estimate + half
    p = 0.5
    return {
        "name": name,
        "estimate": estimate,
        "low": low,
        "high": high,
        "p": p,
        "verdict": verdict,
    }
