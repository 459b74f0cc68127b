"""Makes every silent promotion an error, and names the one source of keys."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    """A fixed key: a statistical test that passes today passes tomorrow."""
    return jax.random.key(20140614)
