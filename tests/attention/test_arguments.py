"""Arguments of attention: what is refused, by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formula
from attention.kernels import attention as in_kernels
from attention.kernels import data as data_of

import jaxdrop

attention = jaxdrop.dot_product_attention
LENGTHS = (24, 24)


def data(features=4, dtype=jnp.float32):
    """Queries, keys and values of two examples with four heads on two key heads."""
    arrays = formula.inputs(2, *LENGTHS, 4, 2, features)
    return [jax.device_put(x.astype(dtype)) for x in arrays.values()]


def wrong(**changes):
    query, key_, value = data()
    call = {"query": query, "key_": key_, "value": value, "rate": 0.5, **changes}
    return [call.pop(name) for name in ("query", "key_", "value")], call


@pytest.mark.whole
@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"rate": 1.5}, ValueError, "rate is the probability.*got 1.5"),
        ({"rate": np.nan}, ValueError, "rate is the probability.*got nan"),
        ({"rate": "0.1"}, TypeError, "rate must be a number"),
        ({"rate": jnp.ones(3)}, ValueError, "rate must be a scalar"),
        ({"query": jnp.ones((24, 4))}, ValueError, "query must have the axes"),
        (
            {"query": jnp.ones((2, 24, 4))},
            ValueError,
            "key_ must have as many axes as query",
        ),
        (
            {"key_": jnp.ones((2, 0, 2, 4)), "value": jnp.ones((2, 0, 2, 4))},
            *(ValueError, "key_ must have keys"),
        ),
        ({"query": jnp.ones((1, 24, 4, 4))}, ValueError, "must agree in batch"),
        ({"query": jnp.ones((2, 24, 3, 4))}, ValueError, "of its number of heads"),
        ({"query": jnp.ones((2, 24, 4, 4), int)}, TypeError, "must be floating"),
        ({"value": jnp.ones((2, 24, 2, 5))}, ValueError, "value must have the shape"),
        ({"value": data(dtype=jnp.bfloat16)[2]}, TypeError, "value must have query's"),
        (
            {"query": data(dtype=jnp.complex64)[0]},
            TypeError,
            "must be real and floating",
        ),
        ({"mask": np.ones((1, 1, 24, 24))}, TypeError, "mask must be boolean"),
        ({"mask": np.ones((1, 2, 24, 24), bool)}, ValueError, "mask must broadcast"),
        ({"bias": np.ones((3, 1, 24, 24))}, ValueError, "bias must broadcast"),
        ({"bias": np.ones((24, 24), int)}, TypeError, "bias must be floating"),
        ({"query_seq_lengths": np.ones(2)}, ValueError, "query_seq_lengths must be 2"),
        ({"local_window_size": -1}, ValueError, "local_window_size must be"),
        ({"local_window_size": (1, 2, 3)}, ValueError, "local_window_size must be"),
        ({"local_window_size": 2.5}, ValueError, "local_window_size must be"),
        ({"is_causal": jnp.array(True)}, TypeError, "is_causal must be a bool"),
        ({"scale": "1"}, TypeError, "scale must be a number"),
        ({"scale": jnp.ones(3)}, ValueError, "scale must be a scalar"),
        ({"block_size": 0}, ValueError, "block_size must be"),
        ({"block_size": 0.5}, ValueError, "block_size must be"),
        ({"block_size": True}, ValueError, "block_size must be"),
        ({"block_size": (8, 0.5)}, ValueError, "block_size must be"),
        ({"broadcast_dims": (4,)}, ValueError, "broadcast_dims: axis 4"),
    ],
)
def test_says_what_is_wrong(key, changes, error, message):
    arrays, call = wrong(**changes)
    with pytest.raises(error, match=message):
        attention(key, *arrays, **call)


@pytest.mark.parametrize("size, found", [(8, "got 8"), ((16, 24), "got 24")])
def test_says_which_blocks_it_takes(key, size, found):
    arrays = list(data_of("plain")[0].values())
    with pytest.raises(ValueError, match=f"powers of two.*at least 16; {found}"):
        in_kernels(key, *arrays, block_size=size)


def test_says_that_it_takes_no_double_precision(key):
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x, jnp.float64) for x in data_of("plain")[0].values()]
        with pytest.raises(ValueError, match="does not take float64"):
            in_kernels(key, *arrays)


def test_says_that_it_takes_no_heads_of_many_features(key):
    arrays = [jnp.ones((1, 16, 1, 257))] * 3
    with pytest.raises(ValueError, match="does not take heads of more than 256"):
        in_kernels(key, *arrays)


@pytest.mark.parametrize("scale", [[[0.5, 0.5], [1]], [0.5, 1.0], np.ones(2), 1j])
def test_a_scale_that_is_no_number_is_refused_by_name(key, scale):
    x = jnp.ones((1, 4, 2, 8))
    with pytest.raises((TypeError, ValueError), match="attention: scale must be a"):
        jaxdrop.dot_product_attention(key, x, x, x, rate=0.5, scale=scale)


@pytest.mark.parametrize("length", [2**70, 10**400])
def test_a_length_beyond_all_keys_must_still_be_one_for_each_example(key, length):
    x = jnp.ones((1, 4, 2, 8))
    attend = lambda lengths: jaxdrop.dot_product_attention(
        key, x, x, x, rate=0.5, key_value_seq_lengths=lengths
    )
    with pytest.raises(ValueError, match="key_value_seq_lengths must be 1 integers"):
        attend(length)
    np.testing.assert_array_equal(attend([length]), attend([4]))


@pytest.mark.parametrize("rate", [0, 0.5])
def test_lengths_in_x64_mode_are_not_mixed_with_positions(key, rate):
    with jax.enable_x64(True):
        x = jnp.ones((1, 4, 2, 8), jnp.float32)
        y = jaxdrop.dot_product_attention(
            key, x, x, x, rate=rate, query_seq_lengths=jnp.array([3])
        )
        assert y.dtype == jnp.float32
        np.testing.assert_array_equal(y[0, 3], jnp.zeros((2, 8)))
