"""Names of leaves, the same for one model in every kind of tree."""

import zlib

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from jaxdrop import _paths


def names(tree):
    found = []
    _paths.map_with_name(lambda name, leaf: found.append(name), tree)
    return found


def test_one_layer_has_one_name_in_linen_nnx_and_as_a_state(key):
    model = nnx.Dict(dense=nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    params = {"dense": nn.Dense(3).init(key, jnp.ones((1, 2)))["params"]}
    expected = ["dense/bias", "dense/kernel"]
    for tree in (
        params,
        nnx.state(model, nnx.Param),
        nnx.to_pure_dict(nnx.state(model)),
    ):
        assert names(tree) == expected
    leaves = jax.tree.leaves_with_path(nnx.split(model, nnx.Param, ...)[1])
    assert [_paths.path_name(path) for path, _ in leaves] == expected


@pytest.mark.parametrize("value", ["value", "raw_value"])
def test_only_the_value_of_a_variable_is_left_out(value):
    key, attribute = jax.tree_util.DictKey, jax.tree_util.GetAttrKey
    assert _paths.path_name((key("a"), attribute(value))) == "a"
    assert _paths.path_name((attribute(value),)) == value  # its only name
    assert _paths.path_name((key("a"), key(value))) == f"a/{value}"
    assert _paths.path_name((key("a"), attribute("weight"))) == "a/weight"
    assert _paths.path_name(()) == ""


def test_sequences_are_counted_and_modules_have_attributes(key):
    layers = {"mlp": [eqx.nn.Linear(2, 3, key=key), (jnp.ones(1),)]}
    assert names(layers) == ["mlp/0/weight", "mlp/0/bias", "mlp/1/0"]


def test_leaves_of_several_trees_are_mapped_together():
    a, b = {"x": 1, "y": [2]}, {"x": 10, "y": [20]}
    found = _paths.map_with_name(lambda name, p, q: (name, p + q), a, b)
    assert found == {"x": ("x", 11), "y": [("y/0", 22)]}


def test_the_hash_of_a_name_is_pinned():
    """Keys of leaves and of sites are folded with it: a change changes all masks."""
    assert _paths.path_hash("encoder/0/kernel") == zlib.crc32(b"encoder/0/kernel")
    assert _paths.path_hash("dense/kernel") == 988593171
