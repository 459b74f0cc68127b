"""Embedding noise: its distribution, and how far it reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from chance import assert_distribution
from jaxdrop import inputs


def test_embedding_noise_is_uniform_up_to_the_published_reach(key):
    embedded = jnp.zeros((20, 16, 50))
    noise = np.asarray(inputs.embedding_noise(key, embedded, alpha=5.0))
    reach = 5 / np.sqrt(16 * 50)
    assert np.abs(noise).max() <= reach
    assert_distribution(noise, stats.uniform(-reach, 2 * reach).cdf)


def test_embedding_noise_ignores_padding(key):
    """Padding gets none, and the reach is that of the sequence's own length."""
    lengths = np.array([1, 4, 9, 16])
    mask = jnp.arange(16)[None] < jnp.asarray(lengths)[:, None]
    embedded = jnp.zeros((4, 16, 400))
    noise = np.asarray(inputs.embedding_noise(key, embedded, alpha=5.0, mask=mask))
    for row, length in zip(noise, lengths, strict=True):
        reach = 5 / np.sqrt(length * 400)
        assert (row[length:] == 0).all()
        assert_distribution(row[:length], stats.uniform(-reach, 2 * reach).cdf)


def test_embedding_noise_may_be_padded_anywhere_with_anything(key):
    mask = jnp.array([[False, True, False, True]])
    embedded = jnp.where(mask[..., None], jnp.zeros((1, 4, 8)), jnp.nan)
    y = inputs.embedding_noise(key, embedded, alpha=5.0, mask=mask)
    np.testing.assert_array_equal(jnp.isnan(y), jnp.isnan(embedded))
    assert (y[:, 1] != 0).all() and (jnp.abs(y[:, 3]) <= 5 / np.sqrt(2 * 8)).all()
    nothing = inputs.embedding_noise(
        key, jnp.zeros((1, 4, 8)), alpha=5.0, mask=jnp.zeros((1, 4), bool)
    )
    assert (nothing == 0).all()


def test_embedding_noise_refuses_masks_of_other_shapes(key):
    with pytest.raises(ValueError, match=r"mask must have shape \(2, 3\)"):
        inputs.embedding_noise(
            key, jnp.ones((2, 3, 4)), alpha=5.0, mask=jnp.ones((2, 3, 1), bool)
        )
    with pytest.raises(TypeError, match="embedded must be real embeddings"):
        inputs.embedding_noise(key, jnp.ones(4), alpha=5.0)


def test_the_reach_of_a_long_sequence_is_the_published_one(key):
    """It has 2**31 entries, more than int32 counts, and 64 of them are computed."""
    num_tokens, num_features = 2**17, 2**14

    @jax.jit
    def noise(key, zero):
        embedded = jnp.broadcast_to(zero, (num_tokens, num_features))
        return inputs.embedding_noise(key, embedded, alpha=5.0)[:1, :64]

    program = noise.lower(key, jnp.float32(0)).compile()
    if program.memory_analysis().temp_size_in_bytes > 2**28:
        pytest.skip("the compiler holds the whole sequence")
    drawn = np.abs(np.asarray(program(key, jnp.float32(0))))
    reach = 5 / (num_tokens * num_features) ** 0.5
    assert 0.8 * reach < drawn.max() <= reach * (1 + 1e-6)
