"""Relatives of dropout with their data, for modules of both frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
from chance import normal


def next_key(seed=0):
    """The first key of a module that was given ``nnx.Rngs(seed)``."""
    return nnx.Rngs(seed).dropout.fork()()


def assert_same(given, expected):
    jax.tree.map(np.testing.assert_array_equal, given, expected)


def embedding():
    ids = jnp.array([[7, 3, 7, 1], [2, 7, 3, 1]])
    embedded = jnp.ones((2, 4, 6))
    function = lambda key, **knobs: jaxdrop.embedding_dropout(
        key, embedded, ids, rate=0.5, **knobs
    )
    return "EmbeddingDropout", {}, (embedded, ids), function


def tokens():
    x = normal(2, 9, 3, seed=1)
    function = lambda key, **knobs: jaxdrop.token_dropout(
        key, x, rate=0.5, num_prefix_tokens=1, **knobs
    )
    return (
        "TokenDropout",
        {"num_prefix_tokens": 1, "return_indices": True},
        (x,),
        function,
    )


for_each = pytest.mark.parametrize("case", [embedding, tokens])
