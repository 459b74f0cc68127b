"""Makes every silent promotion an error, and names the one source of keys."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

QUICKLY_COMPILED = (
    *("diagnostics", "examples", "inputs"),
    *("mc", "metrics", "modules", "penalties"),
)
"""Folders whose tests mostly wait for the compiler, and say nothing of its output."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves out XLA's optimizations where compiling is most of the work.

    What masks, techniques and attention compute is tested as it is compiled for users,
    by programs of their own: the last bits of others may differ.
    """
    quickly = item.path.parent.name in QUICKLY_COMPILED
    if jax.config.read("jax_disable_most_optimizations") != quickly:
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", quickly)


@pytest.fixture
def key() -> jax.Array:
    """A fixed key: a statistical test that passes today passes tomorrow."""
    return jax.random.key(20140614)
