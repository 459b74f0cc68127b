"""Levels of ``vmap``: their axes, and calls that are folded into one batch."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop._attention import _levels

NAMES = ("query", "bias", "keep")
# The outer vmap has 5 calls and maps queries and rates, the inner one has 3 and maps
# queries alone.
LEVELS = ((True, False, True), (True, False, False))


def arrays(bias=(1, 4, 6, 7)):
    rng = np.random.default_rng(0)
    shapes = (5, 3, 2, 6, 4, 8), bias, (5,)
    return [jnp.asarray(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


def test_mapped_axes_are_in_front_of_the_axes_of_one_call():
    assert _levels.mapped_sizes(arrays(), LEVELS) == (5, 3)
    assert _levels.mapped_sizes(arrays(), ()) == ()
    own = {"query": (2, 6, 4, 8), "bias": (1, 4, 6, 7), "keep": ()}
    assert _levels.shapes_of_one(arrays(), NAMES, LEVELS) == own


@pytest.mark.parametrize("wanted", [(), ("bias",)])
def test_all_calls_are_one_batch_with_the_operands_of_each(wanted):
    query, bias, keep = given = arrays()
    operands = _levels.fold(given, NAMES, LEVELS, wanted=wanted)
    assert operands["query"].shape == (30, 6, 4, 8)
    assert operands["keep"].shape == (5, 3)
    assert operands["bias"].shape == ((30, 4, 6, 7) if wanted else bias.shape)
    for outer, inner, example in np.ndindex(5, 3, 2):
        place = (outer * 3 + inner) * 2 + example
        np.testing.assert_array_equal(
            operands["query"][place], query[outer, inner, example]
        )
        assert operands["keep"][outer, inner] == keep[outer]


def test_results_are_those_of_each_call():
    lead, shape = (5, 3), (2, 6, 4, 8)
    query = arrays()[0]
    folded = _levels.fold([query], ("query",), ((True,), (True,)), wanted=())["query"]
    np.testing.assert_array_equal(_levels.unfold(folded, lead, shape), query)
    shared = _levels.unfold(folded, lead, (1, *shape[1:]))
    np.testing.assert_allclose(shared, query.sum(2, keepdims=True), rtol=1e-6)
    numbers = jnp.arange(30.0)
    np.testing.assert_array_equal(
        _levels.unfold(numbers, lead, ()), numbers.reshape(5, 3, 2).sum(-1)
    )


def test_a_function_is_mapped_level_by_level():
    query, bias, keep = arrays()
    run = _levels.over_levels(lambda q, b, k: q.sum() * k + b.sum(), LEVELS)
    expected = query.sum((2, 3, 4, 5)) * keep[:, None] + bias.sum()
    np.testing.assert_allclose(run(query, bias, keep), expected, rtol=1e-5)
