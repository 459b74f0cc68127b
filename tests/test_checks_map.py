"""The list of checks is whole, and every test that it names exists."""

import pathlib
import re

import jax
import pytest

import mutants

HERE = pathlib.Path(__file__).parent
LENGTHS = {  # of the groups of checks
    **{"S": 20, "E": 21, "G": 16, "T": 22, "D": 12, "H": 12, "R": 14, "K": 14},
    **{"F": 8, "N": 28, "P": 8, "C": 13, "U": 36, "M": 16, "X": 24},
}
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (HERE / "checks.md").read_text().splitlines()
    if re.match(r"\| [A-Z]\d+ \|", line)
]
CHECKS = {row[0].strip("| "): row for row in ROWS}


def test_every_check_is_there_once_and_in_order():
    expected = [f"{g}{i}" for g, n in LENGTHS.items() for i in range(1, n + 1)]
    assert [row[0].strip("| ") for row in ROWS] == expected
    assert all(len(row) == 3 and all(row) for row in ROWS)


@pytest.mark.parametrize("group", LENGTHS)
def test_the_tests_of_checks_exist(group):
    missing = []
    for name, (_, _, tests) in CHECKS.items():
        if name[0] != group or group == "X":
            continue
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        gives_a_reason = not tests.startswith("`") and len(tests.split()) > 3
        if not (named or gives_a_reason):
            missing.append(name)
        for file, function in named:
            path = HERE / file
            if not (path.exists() and f"\ndef {function}(" in path.read_text()):
                missing.append(f"{name}: {file}::{function}")
    assert missing == []


def test_the_faults_of_the_list_are_mutants():
    known = {
        f"{m.room}: {m.name}" for room in mutants.needed() for m in mutants.load(room)
    }
    faults = {name: row[2] for name, row in CHECKS.items() if name[0] == "X"}
    assert {name: fault for name, fault in faults.items() if fault not in known} == {}


def test_the_suite_runs_in_strict_modes(pytestconfig):
    """Silent promotion, of dtypes or of ranks, and warnings are errors in all tests."""
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    assert jax.config.jax_numpy_rank_promotion == "raise"
    assert "error" in pytestconfig.getini("filterwarnings")
    with pytest.raises(ValueError, match="rank_promotion"):
        jax.numpy.ones((2, 3)) + jax.numpy.ones(3)
