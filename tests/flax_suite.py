"""Runs Flax's own tests of dropout, with our classes in place of Flax's.

``python -m tests.flax_suite CHECKOUT`` takes a checkout of Flax, at the version that is
installed, and runs the tests named in ``flax_tests.txt``: all of its tests in which a
``Dropout`` is made or called. With ``--find`` it runs every file that speaks of dropout
and writes that list anew.
"""

import argparse
import functools
import inspect
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen
import flax.nnx
import pytest

import jaxdrop

NAMES = pathlib.Path(__file__).with_name("flax_tests.txt")
CLASSES = {
    flax.nnx.Dropout: jaxdrop.nnx.Dropout,
    flax.linen.Dropout: jaxdrop.linen.Dropout,
}


class Recorder:
    """A plugin of pytest that notes which tests use our classes, and how they end."""

    def __init__(self) -> None:
        self.uses = 0
        self.touching: list[str] = []
        self.failed: dict[str, str] = {}
        self.skipped: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves out tests that neither speak of dropout nor name a class that does."""
        items[:] = [item for item in items if _speaks_of_dropout(item)]

    def counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """``method``, which counts its calls."""

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.uses += 1
            return method(*args, **kwargs)

        return call

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Notes a test during which one of our classes is used."""
        before = self.uses
        try:
            return (yield)
        finally:
            if self.uses > before:
                self.touching.append(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes the last line of what a failing test says."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = crash.message if crash else str(report.longrepr)
            self.failed[report.nodeid] = said.strip().splitlines()[0]
        elif report.skipped:
            self.skipped.append(report.nodeid)


def _speaks_of_dropout(item: Any) -> bool:
    source = inspect.getsource(inspect.unwrap(item.function))
    names = _classes(item.module) - {item.cls.__name__ if item.cls else ""}
    return "ropout" in source or any(re.search(rf"\b{n}\b", source) for n in names)


@functools.cache  # reading the source of a class parses its file
def _classes(module: Any) -> frozenset[str]:
    """The names of the classes of a file of tests that speak of dropout."""
    return frozenset(
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and "ropout" in inspect.getsource(value)
    )


def put_in_place(recorder: Recorder) -> None:
    """Puts our classes where every loaded file of Flax has its own."""
    for module in [m for n, m in sys.modules.items() if n.split(".")[0] == "flax"]:
        for name, value in list(vars(module).items()):
            ours = CLASSES.get(value) if isinstance(value, type) else None
            if ours is not None:
                setattr(module, name, ours)
    for ours, made in (
        (jaxdrop.nnx.Dropout, "__init__"),
        (jaxdrop.linen.Dropout, "__post_init__"),
    ):
        setattr(ours, made, recorder.counted(getattr(ours, made)))


def run(checkout: pathlib.Path, targets: list[str], recorder: Recorder) -> None:
    """Runs tests of a checkout."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", os.devnull]
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    options += ["--no-header", "--tb=no", f"--rootdir={checkout}"]
    pytest.main([*options, *targets], plugins=[recorder])


def main() -> int:
    """Runs the suite, prints how it ended, and returns the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=pathlib.Path, help="a checkout of Flax")
    parser.add_argument("--find", nargs="*", help="write the list anew, of these files")
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    if options.find is not None:
        files = [checkout / file for file in options.find]
        files = files or sorted((checkout / "tests").rglob("*_test.py"))
        told = [file for file in files if "ropout" in file.read_text()]
        targets = [str(file.relative_to(checkout)) for file in told]
    else:
        targets = NAMES.read_text().split()
    recorder = Recorder()
    put_in_place(recorder)
    run(checkout, targets, recorder)
    touching = set(recorder.touching)
    if options.find is not None:
        NAMES.write_text("".join(f"{name}\n" for name in sorted(touching)))
    failed = {n: said for n, said in recorder.failed.items() if n in touching}
    for name, said in failed.items():
        print(f"FAILED {name}: {said}")
    passed = len(touching) - len(failed)
    print(f"{passed} of {len(touching)} tests of Flax that use Dropout pass.")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
