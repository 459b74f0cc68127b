"""What is particular to DropConnect: trees, paths, and dropout of an array."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxdrop
from chance import assert_frequency, assert_uncorrelated, normal

kernels = lambda path, leaf: path.endswith("kernel")


@pytest.fixture
def params():
    layer = {"kernel": jnp.ones((64, 64)), "bias": jnp.ones((64,))}
    return {"first": layer, "second": dict(layer), "step": jnp.int32(3)}


def test_an_array_is_dropped_as_by_dropout(key):
    weights = normal(30, 40)
    np.testing.assert_array_equal(
        jaxdrop.drop_connect(key, weights, rate=0.3),
        jaxdrop.dropout(key, weights, rate=0.3),
    )


def test_leaves_draw_independent_masks_at_the_rate(key, params):
    noisy = jaxdrop.drop_connect(key, params, rate=0.3)
    assert jax.tree.structure(noisy) == jax.tree.structure(params)
    masks = [np.asarray(noisy[name]["kernel"] != 0) for name in ("first", "second")]
    assert_uncorrelated(*masks)
    for mask in masks:
        assert_frequency(mask, 0.7)
    assert noisy["step"] == 3


def test_where_selects_leaves_by_path_and_value(key, params):
    noisy = jaxdrop.drop_connect(key, params, rate=0.5, where=kernels)
    assert (noisy["first"]["kernel"] == 0).any()
    assert noisy["first"]["bias"] is params["first"]["bias"]
    matrices = jaxdrop.drop_connect(
        key, params, rate=0.5, where=lambda path, leaf: leaf.ndim > 1
    )
    np.testing.assert_array_equal(matrices["first"]["kernel"], noisy["first"]["kernel"])


def test_masks_go_with_paths_whatever_else_is_in_the_tree(key, params):
    alone = {"second": {"kernel": params["second"]["kernel"]}}
    few = jaxdrop.drop_connect(key, alone, rate=0.5)
    all_ = jaxdrop.drop_connect(key, params, rate=0.5)
    np.testing.assert_array_equal(few["second"]["kernel"], all_["second"]["kernel"])


def test_one_model_has_one_mask_in_linen_nnx_and_as_a_state(key):
    variables = linen.Dense(8).init(key, jnp.ones((1, 4)))["params"]
    model = nnx.Linear(4, 8, rngs=nnx.Rngs(0))
    model.kernel[...] = variables["kernel"]
    state = nnx.state(model, nnx.Param)
    noisy = jaxdrop.drop_connect(key, variables, rate=0.5)["kernel"]
    assert (noisy == 0).any()
    for tree in (state, nnx.to_pure_dict(state)):
        got = jaxdrop.drop_connect(key, tree, rate=0.5, where=kernels)
        np.testing.assert_array_equal(jnp.asarray(got["kernel"]), noisy)


def test_equinox_modules_keep_their_type(key):
    layer = eqx.nn.Linear(4, 8, key=key)
    noisy = jaxdrop.drop_connect(
        key, layer, rate=0.5, where=lambda path, _: path.endswith("weight")
    )
    assert isinstance(noisy, eqx.nn.Linear)
    assert (noisy.weight == 0).any() and (noisy.bias == layer.bias).all()


def test_evaluation_returns_the_tree_itself(params):
    assert jaxdrop.drop_connect(None, params, rate=0.5, deterministic=True) is params
    assert jaxdrop.drop_connect(None, params, rate=0) is params


def test_a_traced_mode_and_rate_reach_every_leaf(key, params):
    step = jax.jit(
        lambda rate, flag: jaxdrop.drop_connect(
            key, params, rate=rate, deterministic=flag
        )
    )
    same = step(0.5, True)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    poisoned = step(jnp.nan, False)
    assert np.isnan(poisoned["first"]["bias"]).all()


def test_an_empty_tree_stays_empty(key):
    assert jaxdrop.drop_connect(key, {}, rate=0.5) == {}
