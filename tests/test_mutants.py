"""Every room has its mutants, and they can be applied; a few of them are tried."""

import pathlib
import subprocess
import sys

import pytest

import mutants

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = sorted(mutants.needed())
SAMPLE = {  # rooms, and words in the names of mutants that stand for many others
    "masks": "comparison off by one step",
    "mc": "unequal groups",
    "metrics": "largest gap weighted",
    "nnx": "counts of draws",
}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_mutant_for_so_many_lines(room):
    assert len(mutants.load(room)) >= mutants.needed()[room]


def test_every_file_of_mutants_is_that_of_a_room():
    files = {path.stem for path in (ROOT / "tests" / "mutants").glob("*.toml")}
    assert files == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_mutants_change_lines_that_are_there_once(room):
    for mutant in mutants.load(room):
        source = mutants.PACKAGE / mutant.file
        assert mutants.room_of(source) == room, mutant.name
        assert source.read_text().count(mutant.line) == 1, mutant.name
        assert mutant.fault != mutant.line, mutant.name


@pytest.mark.parametrize("room", ROOMS)
def test_the_tests_that_notice_mutants_exist(room):
    for mutant in mutants.load(room):
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            file, function = test.partition("[")[0].split("::")
            text = (ROOT / "tests" / file).read_text()
            assert f"\ndef {function}(" in text, (mutant.name, test)


@pytest.mark.slow
@pytest.mark.parametrize("room", SAMPLE)
def test_a_mutant_of_the_sample_is_noticed(room):
    """The others are tried by ``python -m tests.mutants --all``."""
    command = [sys.executable, "-m", "tests.mutants", room, "--only", SAMPLE[room]]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 of 1 mutants are noticed" in run.stdout
