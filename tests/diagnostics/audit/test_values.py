"""What is known of values: equal numbers, small entries, axes, and what is joined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import _programs
from jaxdrop.diagnostics._audit import values
from jaxdrop.diagnostics._audit.values import Numbers, Value


def equations(function, *args):
    return _programs.traced(function, *args)[0].jaxpr.eqns


def test_equal_computations_have_equal_numbers():
    numbers = Numbers()
    first, second, other = equations(
        lambda x: (jnp.sin(x), jnp.sin(x), jnp.cos(x)), jnp.ones(3)
    )
    one = numbers.of_result(first, (7,), 0)
    assert numbers.of_result(second, (7,), 0) == one
    assert numbers.of_result(second, (8,), 0) != one
    assert numbers.of_result(other, (7,), 0) != one


def test_constants_are_equal_by_their_entries_if_they_are_few_or_keys():
    numbers = Numbers()
    few, many = np.arange(3), np.arange(100)
    assert numbers.of_constant(few) == numbers.of_constant(few.copy())
    assert numbers.of_constant(few) != numbers.of_constant(few.astype(np.float32))
    assert numbers.of_constant(many) != numbers.of_constant(many.copy())
    key = numbers.of_constant(jax.random.key(3))
    assert key == numbers.of_constant(jax.random.key(3))
    assert key != numbers.of_constant(jax.random.key(4))
    assert key != numbers.of_constant(jax.random.key(3, impl="rbg"))


def test_small_entries_are_computed_on_demand():
    numbers = Numbers()
    minus, half = equations(lambda x: 0.5 * (1 - x), jnp.float32(0))
    x = numbers.of_constant(np.float32(0.25))
    one, factor = (numbers.of_constant(np.float32(c)) for c in (1, 0.5))
    kept = numbers.of_result(minus, (one, x), 0)
    found = numbers.of_result(half, (factor, kept), 0)
    assert numbers.evaluate(found) == np.float32(0.375)
    unknown = numbers.of_result(minus, (one, numbers.of("input", 0)), 0)
    assert numbers.evaluate(unknown) is None


def test_a_key_that_is_unwrapped_and_wrapped_is_the_key(key):
    numbers = Numbers()
    unwrap, wrap = equations(
        lambda k: jax.random.wrap_key_data(jax.random.key_data(k)), key
    )
    given = numbers.of("input", 0)
    words = numbers.of_result(unwrap, (given,), 0)
    assert numbers.of_result(wrap, (words,), 0) == given != words


def test_of_joined_values_only_what_agrees_is_left():
    a = Value(0, sites=frozenset({1, 2}), direct=frozenset({1, 2}), form="selu", mask=1)
    b = Value(1, sites=frozenset({2, 3}), direct=frozenset({2}), form="selu", mask=2)
    found = values.joined([a, b], 9)
    assert (found.number, found.form, found.mask) == (9, "selu", None)
    assert found.sites == {1, 2, 3} and found.direct == {2}
    choice = Value(5, sites=frozenset({7}), varies=frozenset({(1,)}), form="softmax")
    decided = values.decided_by(choice, a)
    assert decided.sites == {1, 2, 7} and decided.varies == {(1,)}
    assert decided.form == "selu" and decided.direct == a.direct


MOVES = {
    "transpose": (lambda x: x.transpose(0, 3, 1, 2), (2, 3)),
    "broadcast": (lambda x: jnp.broadcast_to(x[None], (2, *x.shape)), None),
    "split a batch": (lambda x: x.reshape(2, 3, 4, 5, 7), (2, 3)),
    "flatten": (lambda x: x.reshape(6, -1), ()),
    "elementwise": (lambda x: -x, (1, 2)),
}


@pytest.mark.whole
@pytest.mark.parametrize("name", MOVES)
def test_spatial_axes_are_followed(name):
    function, expected = MOVES[name]
    *_, last = equations(function, jnp.ones((6, 4, 5, 7)))
    if expected is None:  # of the array with one axis more
        found = values.moved_axes(last, (2, 3))
        assert found == (2, 3)
    else:
        assert values.moved_axes(last, (1, 2)) == expected


def test_keys_counts_and_rates_are_inputs_by_which_sites_are_compared(key):
    for array in (key, jax.random.PRNGKey(0), jnp.float32(0.5), np.int64(3)):
        assert values.identifies(np.asarray(array) if array is not key else array)
    for array in (jnp.ones(2), jnp.ones((2, 2), jnp.int32)):
        assert not values.identifies(array)
