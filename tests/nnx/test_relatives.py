"""NNX modules of the relatives: they compute their function, and follow the mode."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from modules.relatives import assert_same, embedding, for_each, next_key

import jaxdrop
from chance import normal


@for_each
def test_nnx_computes_the_function_and_follows_the_mode(case):
    name, knobs, data, function = case()
    module = getattr(jaxdrop.nnx, name)(0.5, **knobs, rngs=nnx.Rngs(0))
    twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    expected = function(next_key())
    for each in (module, *twins):
        assert_same(each(*data), expected)
    at_call = module(*data, rngs=jax.random.key(5))
    assert_same(at_call, function(jax.random.key(5)))
    module.eval()
    count = int(module.rngs.count[...])
    evaluated = function(None, deterministic=True)
    assert_same(module(*data), evaluated)
    assert_same(nnx.view(twins[0], deterministic=True)(*data), evaluated)
    assert_same(module(*data, deterministic=False, rate=0), evaluated)
    assert int(module.rngs.count[...]) == count
    module.train()
    assert jax.tree.leaves(module(*data))[0].shape == jax.tree.leaves(expected)[0].shape


def test_a_shared_rate_and_a_traced_one_reach_embedding_dropout():
    _, _, data, _ = embedding()
    rate = jaxdrop.nnx.Rate(jnp.float32(1.0))
    module = jaxdrop.nnx.EmbeddingDropout(rate, rngs=nnx.Rngs(0))
    assert not module(*data).any()
    rate[...] = jnp.float32(0.0)
    assert_same(module(*data), data[0])


def test_a_branch_is_a_module_that_trains_with_the_rest(key):
    rngs = nnx.Rngs(0)
    block = jaxdrop.nnx.SubsetStochasticDepth(
        nnx.Linear(3, 3, rngs=rngs), 0.5, rngs=rngs
    )
    x = normal(8, 3)
    y = block(x)
    kept = np.asarray((y != 0).any(axis=1))
    assert kept.sum() == 4
    np.testing.assert_allclose(y[kept], 2 * block.branch(x)[kept], rtol=1e-5)
    gradient = nnx.grad(lambda block: block(x).sum())(block)
    assert (gradient["branch"]["kernel"][...] != 0).all()
    block.eval()
    assert_same(block(x), block.branch(x))
