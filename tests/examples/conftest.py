"""Makes the examples importable, and gives them JAX as those who run them have it."""

import sys
from pathlib import Path

import jax
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "examples")]


@pytest.fixture(autouse=True, scope="module")
def promotion_as_by_default():
    """Optax's Adam promotes silently."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)  # which --quick sets
