"""What is particular to embedding dropout: it drops rows of a table it never sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_count, normal


def test_it_is_dropout_of_the_rows_of_the_table(key):
    table = np.asarray(normal(100, 6))
    ids = np.random.default_rng(1).integers(0, 100, (20, 30))
    y = jaxdrop.embedding_dropout(key, table[ids], ids, rate=0.3)
    rows = np.asarray(jaxdrop.dropout(key, table, rate=0.3, broadcast_dims=(1,)))
    np.testing.assert_array_equal(y, rows[ids])
    assert 50 < int((rows != 0).any(axis=1).sum()) < 90


def test_word_types_are_dropped_at_the_rate(key):
    ids = jnp.arange(20_000, dtype=jnp.uint32)
    y = jaxdrop.embedding_dropout(key, jnp.ones((20_000, 1)), ids, rate=0.1)
    assert_count(int((y == 0).sum()), 20_000, 0.1)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int16, jnp.int32, jnp.uint32])
def test_the_dtype_of_ids_changes_nothing(key, dtype):
    ids, x = np.array([[5, 9, 5], [0, 77, 9]]), np.ones((2, 3, 4), np.float32)
    y = jaxdrop.embedding_dropout(key, x, jax.device_put(ids.astype(dtype)), rate=0.5)
    wanted = jaxdrop.embedding_dropout(key, x, ids, rate=0.5)
    np.testing.assert_array_equal(y, wanted)


def test_a_word_has_one_fate_in_every_batch_of_a_step(key):
    drop = lambda ids: np.asarray(
        jaxdrop.embedding_dropout(
            key, np.ones((*ids.shape, 1), np.float32), ids, rate=0.5
        )
    )[..., 0]
    whole, ids = drop(np.arange(64)), np.array([[63, 2], [2, 7]])
    np.testing.assert_array_equal(drop(ids), whole[ids])


def test_examples_drop_types_of_their_own_under_vmap(key):
    ids = np.tile(np.arange(64), (2, 1))
    drop = lambda key, ids: jaxdrop.embedding_dropout(
        key, jnp.ones((64, 1)), ids, rate=0.5
    )
    first, second = np.asarray(jax.jit(jax.vmap(drop))(jax.random.split(key), ids))
    assert (first != second).any()


def test_no_work_is_spent_on_the_vocabulary(key):
    ids = jnp.array([2**31 - 1, 5])
    drop = lambda x: jaxdrop.embedding_dropout(key, x, ids, rate=0.5)
    cost = jax.jit(drop).lower(jnp.ones((2, 8))).compile().cost_analysis()
    assert cost["flops"] < 5000


def test_rejects_ids_that_do_not_match(key):
    with pytest.raises(
        ValueError, match="must have the shape of ids, followed by features"
    ):
        jaxdrop.embedding_dropout(
            key, jnp.ones((4, 3, 8)), jnp.zeros((3,), jnp.int32), rate=0.5
        )
    with pytest.raises(TypeError, match="ids must be integers"):
        jaxdrop.embedding_dropout(key, jnp.ones((3, 8)), jnp.ones(3), rate=0.5)


def test_ids_of_64_bits_do_not_wrap(key):
    with jax.enable_x64(True):
        ids = jnp.arange(64, dtype=jnp.int64)
        drop = lambda ids: jaxdrop.embedding_dropout(key, jnp.ones(64), ids, rate=0.5)
        low = drop(ids)
        np.testing.assert_array_equal(low, drop(ids.astype(jnp.int32)))
        assert (drop(ids + (1 << 32)) != low).any()
