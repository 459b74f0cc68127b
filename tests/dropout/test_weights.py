"""The weights of a tree that are dropped, and the keys of their masks."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop._dropout import _weights

PARAMS = {"dense": {"kernel": np.ones((2, 3), np.float32), "bias": jnp.ones(3)}}


def bits(key, leaf):
    return jax.random.bits(key, leaf.shape)


def test_the_key_of_a_leaf_is_folded_with_the_hash_of_its_path(key):
    drawn = _weights.map_weights(bits, key, PARAMS, where=None)
    folded = jax.random.fold_in(key, zlib.crc32(b"dense/kernel"))
    np.testing.assert_array_equal(
        drawn["dense"]["kernel"], bits(folded, jnp.ones((2, 3)))
    )
    more = {**PARAMS, "head": {"kernel": jnp.ones((3, 2))}, "a": jnp.ones(1)}
    again = _weights.map_weights(bits, key, more, where=None)
    np.testing.assert_array_equal(again["dense"]["bias"], drawn["dense"]["bias"])


def test_what_is_not_selected_or_not_floating_point_is_the_same_object(key):
    tree = {**PARAMS, "step": jnp.int32(4), "name": "net", "rate": 0.5}
    kernels = lambda path, leaf: leaf.ndim == 2 and path.endswith("kernel")
    found = _weights.map_weights(lambda k, x: 0 * x, key, tree, where=kernels)
    assert not found["dense"]["kernel"].any()
    assert found["dense"]["bias"] is PARAMS["dense"]["bias"]
    assert found["step"] is tree["step"] and found["name"] == "net"


def test_leaves_of_other_trees_come_along(key):
    function = lambda key, leaf, other: leaf + other
    doubled = _weights.map_weights(function, key, PARAMS, PARAMS, where=None)
    np.testing.assert_array_equal(doubled["dense"]["kernel"], np.full((2, 3), 2))


def test_a_choice_that_selects_nothing_lists_what_there_is(key):
    with pytest.raises(ValueError, match=r"among \['dense/bias', 'dense/kernel'\]"):
        _weights.map_weights(bits, key, PARAMS, where=lambda path, leaf: path == "a")
    assert _weights.map_weights(bits, key, {}, where=None) == {}


def test_trees_must_have_one_structure():
    _weights.check_like({"a": 1}, {"a": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"params and reference must have the sa"):
        _weights.check_like({"a": 1}, {"b": 1})


def test_only_arrays_of_floats_and_complex_numbers_can_be_rescaled():
    for leaf in (
        jnp.ones(2),
        np.ones(2),
        jnp.ones((), jnp.bfloat16),
        jnp.ones(1, complex),
    ):
        assert _weights.is_inexact(leaf)
    for leaf in (1.0, np.float32(1), jnp.ones(2, int), np.ones(2, bool), [1.0], None):
        assert not _weights.is_inexact(leaf)
    assert _weights.is_array(jnp.ones(2)) and not _weights.is_array({"a": jnp.ones(2)})
