"""The public functions of masks: pinned bits, those of JAX and Flax, and a textbook."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdrop import masks


def test_the_mask_of_this_release_is_pinned():
    """A change of these bits breaks reproducibility: it needs a line in CHANGELOG."""
    mask = masks.bernoulli(jax.random.key(0), (16,), rate=0.5)
    assert "".join(str(int(kept)) for kept in mask) == "0011011001010000"


@pytest.mark.parametrize("rate", [*np.arange(1, 20) / 20, 1e-7, 1 - 1e-7, 2**-24])
def test_it_is_the_bernoulli_of_jax(key, rate):
    ours = masks.bernoulli(key, (1000,), rate=float(rate))
    theirs = jax.random.bernoulli(key, 1 - float(rate), (1000,))
    np.testing.assert_array_equal(ours, theirs)
    traced = jax.jit(lambda r: masks.bernoulli(key, (1000,), rate=r))(rate)
    np.testing.assert_array_equal(
        traced, jax.random.bernoulli(key, 1 - jnp.float32(rate), (1000,))
    )


def test_the_textbook_example():
    """A 4x5 matrix, dropped at 0.5 by the mask that NumPy's seed 1 draws."""
    x = jnp.arange(20, dtype=jnp.float32).reshape(4, 5) / 20
    ct = jnp.arange(20, dtype=jnp.float32).reshape(4, 5) / 50
    mask = jnp.asarray(np.random.RandomState(1).rand(4, 5) > 0.5)
    y, pull = jax.vjp(lambda x: masks.apply(x, mask, keep=0.5), x)
    printed_y = [
        [0.0, 0.1, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.9],
        [0.0, 1.1, 0.0, 1.3, 0.0],
        [1.5, 0.0, 1.7, 0.0, 0.0],
    ]
    printed_dx = [
        [0.0, 0.04, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.36],
        [0.0, 0.44, 0.0, 0.52, 0.0],
        [0.6, 0.0, 0.68, 0.0, 0.0],
    ]
    np.testing.assert_allclose(y, printed_y, rtol=1e-6)
    np.testing.assert_allclose(pull(ct)[0], printed_dx, rtol=1e-6)


def test_masks_equal_those_of_flax(key):
    x = jnp.ones((40, 30))
    for axes in ((), (0,), (1,), (0, 1)):
        y = nnx.Dropout(0.3, broadcast_dims=axes)(x, rngs=key)
        ours = masks.bernoulli(key, x.shape, rate=0.3, broadcast_dims=axes)
        np.testing.assert_array_equal(y != 0, jnp.broadcast_to(ours, x.shape))
