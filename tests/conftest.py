"""Makes silent promotion an error, compiles once, and names the one source of keys."""

import functools
import gc
import os
import subprocess
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import jax
import pytest
from jax.interpreters import mlir

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_traceback_in_locations_limit", 0)  # tests read no locations
gc.set_threshold(100_000, 20, 1000)  # a full collection visits all modules and tests

AS_FOR_USERS = ("attention", "dropout", "masks", "prng")
"""Folders that ``--optimized`` compiles as for users."""

QUICK_FLAGS = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
"""What lets XLA compile in a third of the time, where it knows these flags."""

TESTED_WHOLE = (
    *("acquisition", "masks", "numbers", "plots"),
    *("benchmarks", "docs", "examples"),
)
"""Folders whose tables are small, only read files, or have no promise that stands for
another."""

ALSO_TABLES = (
    *("test_constraints", "test_eager_calls", "test_host_arguments"),
    *("test_host_numbers", "test_loops", "test_spread_arrays"),
    "test_strict_promotion",
    *("docs/test_figures", "examples/test_compare_regularizers"),
    *("examples/test_language_models", "examples/test_study"),
)
"""Files outside of folders, and of those, whose large tables are tested in part."""

MOST_PROGRAMS = 1500
"""How many programs a process keeps, about 1.5 MB each: neighbours share them."""

COMPILED: list[str] = []
"""An entry for each program since caches were cleared."""

FORGET: list[Callable[[], None]] = [jax.clear_caches]
"""What clears them."""

ONE_OF = {4: 4, 8: 8, 64: 16}
"""A table has so many cases or more, and of so many neighbours one is tested."""

A_FEW_MS = 0.005
"""Seconds: half of the cells of a table take longer, or none should be left out."""

CELL = "a cell of a large table"
"""The reason of a slow mark that a cell was given here."""

LEFT_OUT = pytest.StashKey[tuple[int, int]]()
"""The numbers of cells and of other slow tests that were left out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that compiles techniques and attention as for users."""
    parser.addoption(
        "--optimized",
        action="store_true",
        help="compile bits, masks, techniques and attention as for users",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keeps compiled programs for the other workers and for the next run.

    Most of the time goes into compiling, and many tests compile the same programs.
    """
    if jax.config.jax_compilation_cache_dir is None and hasattr(config, "cache"):
        directory = str(config.cache.mkdir("jax"))
        jax.config.update("jax_compilation_cache_dir", directory)
    share_context()
    jax.monitoring.register_event_duration_secs_listener(count_programs)
    optimized = config.getoption("optimized")
    jax.config.update("jax_disable_most_optimizations", not optimized)  # for imports
    if not optimized and not config.option.collectonly:
        compile_quickly()


def share_context() -> None:
    """Lowers all programs in one context of MLIR, until caches are cleared.

    JAX loads all dialects anew for each program, which took an eighth of the time.
    Where it has no such function, each program has a context of its own.
    """
    make = getattr(mlir, "make_ir_context", None)
    if make is not None:
        cached = functools.cache(make)
        FORGET.append(cached.cache_clear)
        sys.modules[make.__module__].make_ir_context = cached


def count_programs(event: str, duration: float, **_: Any) -> None:
    """Listens to JAX, for :data:`COMPILED`."""
    if event.endswith("backend_compile_duration"):
        COMPILED.append(event)


def compile_quickly() -> None:
    """Sets XLA's flags for this process and its workers, if XLA knows them all.

    It ends a process where it does not, so a process of its own tries them.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if QUICK_FLAGS in flags:  # a worker
        return
    environment = os.environ | {"XLA_FLAGS": f"{flags} {QUICK_FLAGS}"}
    program = "import jax; jax.devices()"
    trial = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True
    )
    if trial.returncode == 0:
        os.environ["XLA_FLAGS"] = environment["XLA_FLAGS"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leaves most cells of large tables to the slow tests, if all tests are asked for.

    Where every promise is tested on every row, ``pytest``, ``pytest tests`` and
    ``pytest .`` test each promise on every fourth row, and each row by every fourth
    promise; of larger tables, on fewer. A folder, a file or a test that is named is
    tested whole.
    """
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:  # processes would not agree on the names of tests
        raise pytest.UsageError(f"the name of a test has an address: {unstable[0]}")
    house = config.rootpath / "tests"
    paths = (config.invocation_params.dir / arg for arg in config.args)
    if not any(house.is_relative_to(path.resolve()) for path in paths):
        return
    name = lambda item: item.nodeid.split("[")[0]
    quick = [
        item
        for item in items
        if is_tested_in_part(item.path.relative_to(house))
        and not item.get_closest_marker("slow")
        and not item.get_closest_marker("whole")
    ]
    sizes, seen = Counter(map(name, quick)), Counter()
    for item in quick:
        place, size = seen[name(item)], sizes[name(item)]
        seen[name(item)] += 1
        if not is_tested(name(item), place, size):
            item.add_marker(pytest.mark.slow(CELL))
            item.add_marker(pytest.mark.cell)


def is_tested_in_part(path: Path) -> bool:
    """Whether large tables of a file, named from ``tests``, are tested in part."""
    outside = len(path.parts) == 1 or path.parts[0] in TESTED_WHOLE
    return not outside or path.with_suffix("").as_posix() in ALSO_TABLES


def is_tested(name: str, place: int, size: int) -> bool:
    """Whether a case of a test is tested, by its place among the others.

    Of a table one of so many neighbours is, and not always the one at the same place
    among them, so that of a table of four columns each is tested.
    """
    every = max((of for least, of in ONE_OF.items() if size >= least), default=1)
    group, case = divmod(place, every)
    return case == (zlib.crc32(name.encode()) + group) % every


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Counts the slow tests that are left out, for the summary."""
    marks = [item.get_closest_marker("slow") for item in items]
    if items and all(marks):  # -m, and not -k, has left them out
        counts = Counter(CELL in mark.args for mark in marks if mark)
        items[0].config.stash[LEFT_OUT] = (counts[True], counts[False])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Sends what a worker has left out to the process that prints the summary."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None and LEFT_OUT in session.config.stash:
        output["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Receives what a worker has left out; all of them leave out the same."""
    if found := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[LEFT_OUT] = found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says what was left out and how to run it, and what need not be left out."""
    if LEFT_OUT in config.stash:
        cells, others = config.stash[LEFT_OUT]
        where = [f"{cells} cases of large tables"] if cells else []
        where += [f"{others} slow tests"] if others else []
        terminalreporter.section("left out")
        terminalreporter.line(f"{' and '.join(where)}: pytest -m slow runs them.")
    stats = terminalreporter.stats
    phases = [report for key in ("", "passed") for report in stats.get(key, [])]
    if tables := quick_tables(phases):
        terminalreporter.section("left out without need")
        terminalreporter.line("Mark as whole what takes a few ms alone, too:")
        for name in tables:
            terminalreporter.line(f"  {name}")


def quick_tables(phases: Sequence[pytest.TestReport]) -> list[str]:
    """The tables of whose cells most take a few milliseconds, setup included.

    What was skipped takes no time, and is not counted.

    Args:
      phases: reports of setups, calls and teardowns of tests.
    """
    seconds = Counter[str]()
    for phase in phases:
        seconds[phase.nodeid] += phase.duration
    tables = defaultdict[str, list[float]](list)
    for phase in phases:
        if phase.when == "call" and phase.passed and "cell" in phase.keywords:
            tables[phase.nodeid.split("[")[0]].append(seconds[phase.nodeid])
    return [name for name, all in tables.items() if median(all) < A_FEW_MS]


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leaves out the optimizations of LLVM: compiling is most of the work."""
    folders = request.path.relative_to(request.config.rootpath / "tests").parts[:-1]
    optimized = request.config.getoption("optimized") and {*AS_FOR_USERS} & {*folders}
    jax.config.update("jax_disable_most_optimizations", not optimized)
    yield
    if len(COMPILED) > MOST_PROGRAMS:
        COMPILED.clear()
        for forget in FORGET:
            forget()
        gc.collect()


@pytest.fixture
def optimized() -> Iterator[None]:
    """Compiles as for users: for programs that run for longer than they compile."""
    found = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", found)


@pytest.fixture
def key() -> jax.Array:
    """A fixed key: a statistical test that passes today passes tomorrow."""
    return jax.random.key(20140614)
