"""Puts the mutants of rooms into a copy of the library, and says which are noticed.

``python -m tests.mutants mc metrics`` tries those of two rooms, and ``--all`` all of
them, which takes half an hour. ``--only WORDS`` tries those whose names hold the words.
A mutant is skipped where a test that is to notice it is, and says why. The exit status
is 1 if a mutant is not noticed, or if a test that is to notice one fails without it.
"""

import argparse
import collections
import os
import pathlib
import sys
import tempfile
import time

from tests.conftest import compile_quickly
from tests.mutants import (
    NOT_FOUND,
    SOME_FAILED,
    TOOK_TOO_LONG,
    Copy,
    Mutant,
    Outcome,
    load,
    needed,
)


def main() -> int:
    """Runs the command, and returns its exit status."""
    rooms = sorted(needed())
    parser = argparse.ArgumentParser("tests.mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=", ".join(rooms))
    parser.add_argument("--all", action="store_true", help="all rooms")
    parser.add_argument("--only", default="", help="words in the names of mutants")
    given = parser.parse_args()
    if unknown := set(given.rooms) - set(rooms):
        parser.error(f"unknown rooms {sorted(unknown)}; there are {', '.join(rooms)}")
    if not given.rooms and not given.all:
        parser.error("name rooms, or give --all")
    chosen = [
        mutant
        for room in (rooms if given.all else given.rooms)
        for mutant in load(room)
        if given.only in mutant.name
    ]
    if given.all and hasattr(os, "nice"):
        os.nice(10)
    compile_quickly()  # tried once, not by every run of pytest
    with tempfile.TemporaryDirectory() as folder:
        return _try_all(Copy(pathlib.Path(folder)), chosen)


def _try_all(copy: Copy, mutants: list[Mutant]) -> int:
    """Tries mutants in turn, and prints a line for each."""
    tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    _progress(0, len(mutants), f"{len(tests)} tests without faults")
    sound = _sound(copy, tests)
    if sound.status:
        print(f"{sound.output[-3000:]}\nThese tests fail without any fault.")
        return 1
    outcomes: collections.Counter[str] = collections.Counter()
    print(f"{'outcome':12} {'seconds':>7}  room: mutant")
    for done, mutant in enumerate(mutants):
        _progress(done, len(mutants), f"{mutant.room}: {mutant.name}")
        begin = time.perf_counter()
        outcome, why = _outcome(copy, mutant, sound.skipped)
        seconds = time.perf_counter() - begin
        outcomes[outcome] += 1
        row = f"{outcome:12} {seconds:7.1f}  {mutant.room}: {mutant.name}{why}"
        print(row, flush=True)
    _progress(len(mutants), len(mutants), "done")
    noticed, skipped = outcomes["noticed"], outcomes["skipped"]
    also = f", {skipped} skipped" if skipped else ""
    print(f"\n{noticed} of {len(mutants)} mutants are noticed{also}")
    return int(noticed + skipped < len(mutants))


def _sound(copy: Copy, tests: tuple[str, ...]) -> Outcome:
    """The tests without any fault."""
    outcome = copy.run(tests)
    if outcome.status != NOT_FOUND or not outcome.skipped:
        return outcome
    rest = tuple(test for test in tests if test not in outcome.skipped)
    again = copy.run(rest) if rest else Outcome(0, "", {})
    return again._replace(skipped=outcome.skipped | again.skipped)


def _outcome(copy: Copy, mutant: Mutant, skipped: dict[str, str]) -> tuple[str, str]:
    """What the tests of a mutant say of it that run here, and why others do not."""
    tests = tuple(test for test in mutant.tests if test not in skipped)
    reasons = dict.fromkeys(skipped[test] for test in mutant.tests if test in skipped)
    status = copy.run_with(mutant._replace(tests=tests)).status if tests else 0
    if status == 0 and reasons:
        return "skipped", f" ({'; '.join(reasons)})"
    words = {0: "NOT NOTICED", SOME_FAILED: "noticed", TOOK_TOO_LONG: "TOO LONG"}
    return words.get(status, f"STATUS {status}"), ""


def _progress(done: int, total: int, words: str) -> None:
    """Draws a bar on the terminal, if there is one."""
    if sys.stderr.isatty():
        bar = "#" * (20 * done // max(total, 1))
        end = "\n" if done == total else ""
        line = f"\r[{bar:20}] {done}/{total} {words:60.60}"
        print(line, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
