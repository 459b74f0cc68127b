"""Makes silent promotion an error, compiles once, and names the one source of keys."""

import gc
import zlib
from collections import Counter
from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
gc.set_threshold(100_000, 20, 20)  # an eighth of the time went into collections

QUICKLY_COMPILED = (
    *("diagnostics", "examples", "inputs"),
    *("mc", "metrics", "modules", "penalties"),
    *("test_acquisition", "test_combinations", "test_constraints"),
    *("test_debug_modes", "test_export"),
)
"""Folders and files that mostly wait for the compiler, and ask little of its output."""

LARGE = 4
"""The number of cases from which on a test is a table."""


def pytest_configure(config: pytest.Config) -> None:
    """Keeps compiled programs for the other workers and for the next run.

    Most of the time goes into compiling, and many tests compile the same programs.
    """
    if jax.config.jax_compilation_cache_dir is None and hasattr(config, "cache"):
        directory = str(config.cache.mkdir("jax"))
        jax.config.update("jax_compilation_cache_dir", directory)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leaves most cells of large tables to the slow tests, if nothing is named.

    Where every promise is tested on every row, ``pytest`` alone tests each promise on
    every fourth row, and each row by every fourth promise. ``pytest FOLDER`` tests all.
    """
    if config.args != config.getini("testpaths"):
        return
    name = lambda item: item.nodeid.split("[")[0]
    house = config.rootpath / "tests"
    quick = [
        item
        for item in items
        if item.path.parent != house and not item.get_closest_marker("slow")
    ]
    sizes, seen = Counter(map(name, quick)), Counter()
    for item in quick:
        turn = zlib.crc32(name(item).encode()) + seen[name(item)]
        seen[name(item)] += 1
        if sizes[name(item)] >= LARGE and turn % 4:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leaves out XLA's optimizations where compiling is most of the work.

    What masks, techniques and attention compute is tested as it is compiled for users,
    by programs of their own: the last bits of others may differ.
    """
    quickly = {request.path.parent.name, request.path.stem} & {*QUICKLY_COMPILED}
    jax.config.update("jax_disable_most_optimizations", bool(quickly))
    yield
    jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    """A fixed key: a statistical test that passes today passes tomorrow."""
    return jax.random.key(20140614)
