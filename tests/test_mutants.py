"""Every room has its mutants, and they can be applied; a few of them are tried."""

import pathlib
import subprocess
import sys

import pytest

import mutants
from mutants import __main__ as command
from new_process import call_in_new_process

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
        text = source.read_text()
        assert text.count(mutant.line) == 1, mutant.name
        assert mutant.fault != mutant.line, mutant.name
        faulty = text.replace(mutant.line, mutant.fault)
        compile(faulty, f"{mutant.file}, {mutant.name}", "exec")


@pytest.mark.parametrize("room", ROOMS)
def test_the_tests_that_notice_mutants_exist(room):
    for mutant in mutants.load(room):
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            file, function = test.partition("[")[0].split("::")
            text = (ROOT / "tests" / file).read_text()
            assert f"\ndef {function}(" in text, (mutant.name, test)


class Prepared:
    """A copy whose tests end as said: a status, or why one is skipped."""

    def __init__(self, ends):
        self.ends = ends

    def run(self, tests):
        skipped = {t: self.ends[t] for t in tests if isinstance(self.ends[t], str)}
        return mutants.Outcome(0, "", skipped)

    def run_with(self, mutant):
        return mutants.Outcome(max(self.ends[test] for test in mutant.tests), "", {})


@pytest.mark.parametrize(
    ("ends", "word", "status"),
    [
        ([0, 0], "NOT NOTICED", 1),
        ([0, 1], "noticed", 0),
        (["no GPU", 0], "skipped", 0),
        (["no GPU", "no GPU"], "skipped", 0),
        (["no GPU", 1], "noticed", 0),
        ([mutants.TOOK_TOO_LONG, "no GPU"], "TOO LONG", 1),
    ],
    ids=str,
)
def test_a_mutant_whose_tests_are_skipped_is_skipped(ends, word, status, capsys):
    tests = dict(zip(("a.py::one", "b.py::two"), ends, strict=True))
    mutant = mutants.Mutant("masks", "a fault", "masks.py", "x", "y", tuple(tests))
    assert command._try_all(Prepared(tests), [mutant]) == status
    *_, row, _, count = capsys.readouterr().out.splitlines()
    assert row.startswith(word)
    assert row.endswith("a fault (no GPU)" if word == "skipped" else "a fault")
    noticed = f"{int(word == 'noticed')} of 1 mutants are noticed"
    assert count == noticed + ", 1 skipped" * (word == "skipped")


SKIPPING = """
import pytest
{}
def test_runs():
    pass

@pytest.mark.parametrize("reason", ["first", "second"])
def test_is_skipped(reason):
    pytest.skip(reason)

@pytest.mark.parametrize("run", [True, False])
def test_runs_in_part(run):
    if not run:
        pytest.skip("in part")
"""


def run_skipping(folder):
    """Tests in a copy that skip themselves, for a process of their own."""
    copy = mutants.Copy(pathlib.Path(folder))
    for name, line in ("some", ""), ("all", "pytest.importorskip('not_there')"):
        text = SKIPPING.format(line)
        (copy.folder / "tests" / f"test_{name}.py").write_text(text)
    tests = [
        f"test_{n}.py::test_{t}"
        for n in ("some", "all")
        for t in ("runs", "is_skipped", "runs_in_part")
    ]
    found = command._sound(copy, (*tests, "test_some.py::test_is_skipped[second]"))
    assert found.status == 0, found.output
    no_module = "could not import 'not_there': No module named 'not_there'"
    assert found.skipped == {
        "test_some.py::test_is_skipped": "first",
        "test_some.py::test_is_skipped[second]": "second",
        **dict.fromkeys(tests[3:], no_module),
    }


@pytest.mark.slow
def test_the_reasons_of_skipped_tests_are_found(tmp_path):
    call_in_new_process("test_mutants", "run_skipping", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("room", SAMPLE)
def test_a_mutant_of_the_sample_is_noticed(room):
    """The others are tried by ``python -m tests.mutants --all``."""
    command = [sys.executable, "-m", "tests.mutants", room, "--only", SAMPLE[room]]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 of 1 mutants are noticed" in run.stdout
