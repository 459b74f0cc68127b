"""Which entries share one decision: whole channels, examples, sequences, features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from chance import assert_frequency

RATE = 0.3
DECISIONS = {  # a technique, the shape of its data, and one entry for each decision
    "spatial, one axis": (
        jaxdrop.spatial_dropout,
        {"num_spatial_dims": 1},
        (40, 5, 60),
        (40, 1, 60),
    ),
    "spatial, two axes": (jaxdrop.spatial_dropout, {}, (40, 3, 4, 60), (40, 1, 1, 60)),
    "spatial, three axes": (
        jaxdrop.spatial_dropout,
        {"num_spatial_dims": 3},
        (40, 2, 3, 4, 60),
        (40, 1, 1, 1, 60),
    ),
    "spatial, channels first": (
        jaxdrop.spatial_dropout,
        {"channel_axis": 1},
        (40, 60, 3, 4),
        (40, 60, 1, 1),
    ),
    "locked": (jaxdrop.locked_dropout, {}, (40, 7, 60), (40, 1, 60)),
    "locked, time first": (
        jaxdrop.locked_dropout,
        {"time_axis": 0},
        (7, 40, 60),
        (1, 40, 60),
    ),
    "stochastic depth": (jaxdrop.stochastic_depth, {}, (2400, 3, 2), (2400, 1, 1)),
    "stochastic depth, second axis": (
        jaxdrop.stochastic_depth,
        {"batch_axis": 1},
        (3, 2400, 2),
        (1, 2400, 1),
    ),
    "stochastic depth of all": (
        jaxdrop.stochastic_depth,
        {"batch_axis": None},
        (24, 3, 2),
        (1, 1, 1),
    ),
    "dropout of rows": (
        jaxdrop.dropout,
        {"broadcast_dims": (-1,)},
        (2400, 3),
        (2400, 1),
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_what_shares_a_decision_and_what_does_not(name, key):
    technique, knobs, shape, decisions = DECISIONS[name]
    y = np.asarray(technique(key, jnp.ones(shape), rate=RATE, **knobs))
    one_each = tuple(slice(size) for size in decisions)
    np.testing.assert_array_equal(y, np.broadcast_to(y[one_each], shape))
    kept = np.float32(1 / np.float32(1 - RATE))
    assert set(np.unique(y)) <= {np.float32(0), kept}
    if max(decisions) > 1:
        assert_frequency(y[one_each] == 0, RATE)


def test_channels_of_alpha_dropout_share_their_decisions(key):
    x = jnp.linspace(-1.0, 1.0, 40 * 6 * 60).reshape(40, 6, 60)
    y = jaxdrop.feature_alpha_dropout(key, x, rate=RATE, num_spatial_dims=1)
    constant = np.asarray((y == y[:, :1]).all(axis=1))  # x itself is constant nowhere
    assert_frequency(constant, RATE)
    slopes = np.asarray((y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0]))
    np.testing.assert_allclose(slopes[~constant], slopes[~constant][0], rtol=1e-3)


def test_a_branch_that_is_not_scaled_is_kept_as_it_is(key):
    x = jnp.cos(jnp.arange(400.0)).reshape(200, 2)
    y = jaxdrop.stochastic_depth(key, x, rate=RATE, scale=False)
    kept = np.asarray(jaxdrop.stochastic_depth(key, jnp.ones((200, 1)), rate=RATE) != 0)
    np.testing.assert_array_equal(y, np.where(kept, x, 0))


HEADS = jnp.ones((2, 5, 3, 4))
AT_RATE_ONE = {
    "drop_head": lambda key: jaxdrop.drop_head(key, HEADS, rate=1),
    "zoneout": lambda key: jaxdrop.zoneout(key, HEADS, 2 * HEADS, rate=1),
    "layer_drop": lambda key: jaxdrop.layer_drop(key, 3, rate=1),
    "dot_product_attention": lambda key: jaxdrop.dot_product_attention(
        key, HEADS, HEADS, HEADS, rate=1
    ),
}


@pytest.mark.parametrize("name", AT_RATE_ONE)
def test_where_everything_is_dropped_no_key_is_needed(name):
    without, given = (AT_RATE_ONE[name](key) for key in (None, jax.random.key(3)))
    np.testing.assert_array_equal(without, given)
