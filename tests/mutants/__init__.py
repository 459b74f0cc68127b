"""Faults put in on purpose: a suite that does not notice them tests nothing.

A mutant is one line of the library as it must not be, with the tests that notice it.
Those of a room, a folder or a public file of the library, are in the file of its name.
``python -m tests.mutants ROOM`` puts each of them into a copy of the library and runs
its tests there.
"""

import importlib
import json
import math
import os
import pathlib
import shutil
import signal
import sys
import time
import tomllib
import warnings
from typing import NamedTuple, NoReturn

import pytest

TOP = pathlib.Path(__file__).parents[2]
PACKAGE = TOP / "jaxdrop"

LINES_PER_MUTANT = 250
"""A room has at least one mutant for so many lines of its sources."""

PUBLIC_FILES = ("constraints", "early_stopping", "keys", "schedules")
"""Files beside the folders that are rooms of their own; the others are in ``root``."""

FLAGS = ("-q", "-x", "-n", "0", "-m", "", "-p", "no:cacheprovider")
"""Named tests run alone, the slow ones too, until one fails."""

SOME_FAILED = 1
"""The exit status of pytest if tests ran, and one failed."""

NOT_FOUND = 4
"""The exit status of pytest if a test is not there, as in a file that skips itself."""

LONGEST = 600.0
"""Seconds after which the tests of a fault, which may never end, are ended."""

TOOK_TOO_LONG = -9
"""The status of tests that were ended."""

PRELOADED = ("flax.linen", "flax.nnx", "jax", "optax", "scipy.special", "scipy.stats")
"""What most tests import."""


class Mutant(NamedTuple):
    """A line as it must not be.

    Attributes:
      room: where it is.
      name: the fault in a few words.
      file: the source, from ``jaxdrop`` on.
      line: text that occurs once in it.
      fault: the text that replaces it.
      tests: the tests that notice, from ``tests`` on, as pytest names them.
    """

    room: str
    name: str
    file: str
    line: str
    fault: str
    tests: tuple[str, ...]


def room_of(source: pathlib.Path) -> str:
    """The room that a source belongs to."""
    first, *inner = source.relative_to(PACKAGE).with_suffix("").parts
    if inner:
        return first.strip("_")
    return first if first in PUBLIC_FILES else "root"


def needed() -> dict[str, int]:
    """The least number of mutants of every room."""
    lines: dict[str, int] = {}
    for source in sorted(PACKAGE.rglob("*.py")):
        room = room_of(source)
        lines[room] = lines.get(room, 0) + source.read_text().count("\n")
    return {room: math.ceil(n / LINES_PER_MUTANT) for room, n in lines.items()}


def load(room: str) -> list[Mutant]:
    """The mutants of a room, in the order of its file."""
    path = pathlib.Path(__file__).with_name(f"{room}.toml")
    table = tomllib.loads(path.read_text()) if path.exists() else {}
    return [
        Mutant(room, name, row["file"], row["line"], row["fault"], (*row["tests"],))
        for name, row in table.items()
    ]


class Outcome(NamedTuple):
    """How tests went.

    Attributes:
      status: the exit status of pytest.
      output: what it printed.
      skipped: why a test was skipped, for each of which no case ran.
    """

    status: int
    output: str
    skipped: dict[str, str]


class Skips:
    """A plugin of pytest that notes which tests were skipped, and why."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.reasons: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notes a file that skips itself."""
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a case, and the test that it is one of."""
        if report.when == "call" and not report.skipped:
            self.ran |= {report.nodeid, report.nodeid.partition("[")[0]}
        self._note(report)

    def of(self, tests: tuple[str, ...]) -> dict[str, str]:
        """Those of some tests of which no case ran, with the reason."""
        skipped = {}
        for test in tests:
            for name in (f"tests/{test}", "tests/" + test.partition("::")[0]):
                if f"tests/{test}" not in self.ran and name in self.reasons:
                    skipped[test] = self.reasons[name]
        return skipped

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[-1].removeprefix("Skipped: ")
            for name in (report.nodeid, report.nodeid.partition("[")[0]):
                self.reasons.setdefault(name, reason)


class Copy:
    """A copy of the library and its tests, into which faults are put one at a time.

    Tests run in forks of this process, which has imported what takes long to import,
    but nothing of the library, and has not used any device.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.turn = 0
        for part in ("jaxdrop", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TOP / part, folder / part, ignore=ignored)
        shutil.copy(TOP / "pyproject.toml", folder)
        for name in PRELOADED:
            importlib.import_module(name)

    def run(self, tests: tuple[str, ...], *, longest: float = math.inf) -> Outcome:
        """Runs tests in the copy as it is, for ``longest`` seconds at most."""
        output, skips = self.folder / "output", self.folder / "skips.json"
        skips.write_text("{}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns of forks: none has used it
            child = os.fork()
        if child == 0:
            self._test(tests, output, skips)
        status = _status_of(child, longest)
        return Outcome(status, output.read_text(), json.loads(skips.read_text()))

    def run_with(self, mutant: Mutant) -> Outcome:
        """Runs the tests of a mutant with its fault in place."""
        text = (PACKAGE / mutant.file).read_text()
        assert text.count(mutant.line) == 1, f"{mutant.file}: {mutant.line}"
        try:
            self._write(mutant.file, text.replace(mutant.line, mutant.fault))
            return self.run(mutant.tests, longest=LONGEST)
        finally:
            self._write(mutant.file, text)

    def _test(
        self, tests: tuple[str, ...], output: pathlib.Path, skips: pathlib.Path
    ) -> NoReturn:
        """Becomes a run of pytest, and ends."""
        status, plugin = -1, Skips()
        try:
            with output.open("w") as stream:
                for number in (1, 2):
                    os.dup2(stream.fileno(), number)
            os.chdir(self.folder)
            os.environ["PYTHONPATH"] = str(self.folder)  # of new processes
            sys.dont_write_bytecode = False
            own = {str(TOP), str(TOP / "tests"), ""}
            sys.path[:] = [path for path in sys.path if path not in own]
            for name in list(sys.modules):
                if name.split(".")[0] in ("conftest", "jaxdrop", "tests"):
                    del sys.modules[name]
            named = [f"tests/{test}" for test in tests]
            status = pytest.main([*FLAGS, *named], plugins=[plugin])
            skips.write_text(json.dumps(plugin.of(tests)))
            sys.stdout.flush()
        finally:
            os._exit(status)

    def _write(self, file: str, text: str) -> None:
        """Writes a source with a time of its own, by which bytecode is found old."""
        path = self.folder / "jaxdrop" / file
        self.turn += 1
        time = path.stat().st_mtime + 2 * self.turn
        path.write_text(text)
        os.utime(path, (time, time))


def _status_of(child: int, longest: float) -> int:
    """The exit status of a process; one that takes too long is ended."""
    end = time.monotonic() + longest
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return TOOK_TOO_LONG
        time.sleep(0.05)
