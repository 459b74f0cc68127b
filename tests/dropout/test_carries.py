"""Carries of recurrent cells: where the state is found, and what is refused."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdrop._dropout import _carries
from jaxdrop._dropout._carries import KeyedCarry, MaskedCarry

MEMORY, STATE, STEPS = jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.zeros(2, jnp.int32)
LSTM = (MEMORY, STATE)


class Named(NamedTuple):
    """A carry with names."""

    state: jax.Array
    memory: jax.Array


find = _carries.find_state


def test_the_state_of_a_cell_of_flax_is_its_last_array_of_floats():
    assert find(LSTM, None, is_known=True) == 1
    assert find((MEMORY, STATE, STEPS), None, is_known=True) == 1
    wrapped = KeyedCarry(MaskedCarry(LSTM, None, MEMORY > 0), None, None)
    assert find(wrapped, None, is_known=True) == 1
    assert find(STEPS, None, is_known=True) is None


def test_the_state_of_another_cell_is_known_where_there_is_one_array():
    assert find({"h": STATE, "t": STEPS}, None, is_known=False) == 0
    assert find(LSTM, None, is_known=False) is None
    message = r"it is not known .*\('float32\[2, 3\]', .*: pass state="
    with pytest.raises(ValueError, match=message):
        _carries.require_state(LSTM, None, is_known=False)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("carry", "where", "at"),
    [
        (LSTM, 0, 0),
        ({"lstm": (MEMORY, STATE)}, ("lstm", 1), 1),
        (Named(STATE, MEMORY), "state", 0),
        (LSTM, lambda carry: carry[1], 1),
    ],
)
def test_the_place_of_the_state_is_a_key_some_keys_or_a_function(carry, where, at):
    assert find(carry, where, is_known=False) == at
    expected = jax.tree.leaves(carry)[at]
    assert _carries.state_of(KeyedCarry(carry, None, None), at) is expected


@pytest.mark.whole
@pytest.mark.parametrize("where", [2, "state", ("a", 0), (0, 0), lambda carry: True])
def test_a_place_without_a_state_is_named(where):
    with pytest.raises(ValueError, match=r"state=.* does not lead to"):
        find((MEMORY, STEPS), where, is_known=True)


def test_an_output_that_is_another_array_of_the_carry_is_suspicious():
    check = functools.partial(_carries.check_assumed, LSTM)
    check(STATE, 1)
    check(2 * STATE, 1)  # not an array of the carry
    check(MEMORY, None)
    with pytest.raises(ValueError, match=r"array 0 .* Pass state=0, or state=1"):
        check(MEMORY, 1)


def test_only_the_state_is_dropped_and_wrappers_stay():
    mask = jnp.array([True])
    carry = KeyedCarry(MaskedCarry(LSTM, mask, None), None, None)
    found = _carries.drop_state(carry, 1, lambda state: 5 * state)
    assert found.cell.inputs is mask and found.cell.cell[0] is MEMORY
    np.testing.assert_array_equal(found.cell.cell[1], 5 * STATE)
    assert _carries.innermost(carry) is LSTM


def test_a_sequence_starts_from_a_carry_of_its_batch():
    carry = MaskedCarry((MEMORY, STEPS), None, None)
    assert _carries.check_start(carry, (2,))[0] is MEMORY
    with pytest.raises(ValueError, match=r"carry must have the batch \(3,\)"):
        _carries.check_start(carry, (3,))


def test_a_plain_carry_is_enough_where_nothing_is_drawn():
    plain = lambda carry, rate, flag: _carries.is_plain(
        carry, (MaskedCarry,), rates=(0.0, rate), flag=flag
    )
    assert plain(LSTM, 0.5, True) and plain(LSTM, 0, False)
    assert not plain(MaskedCarry(LSTM, None, None), 0.5, False)
    for rate, flag in ((0.5, False), (jnp.float32(0), False), (0.5, jnp.array(True))):
        with pytest.raises(ValueError, match=r"which training needs.* type tuple\. To"):
            plain(LSTM, rate, flag)


def test_methods_of_flax_are_known_under_their_transformations():
    class Own(nn.GRUCell):
        def __call__(self, carry, x):
            return super().__call__(carry, x)

        def other(self, x):
            return x

    assert _carries.comes_from_flax(nn.remat(nn.GRUCell).__call__)
    assert not _carries.comes_from_flax(Own.__call__)
    assert _carries.calls_another(Own.__call__)
    assert not _carries.calls_another(Own.other)
    assert not _carries.calls_another(functools.partial(print))


def test_an_output_of_another_shape_is_no_copy_of_an_array():
    output = jnp.ones(3)
    assert _carries.checked_by_value((jnp.ones(2), jnp.ones(2)), output, 1) is output


@pytest.mark.whole
@pytest.mark.parametrize(
    ("given", "is_known", "has_own_step", "expected"),
    [
        ("cell", False, True, "cell"),
        (None, False, False, "unknown"),
        (None, True, False, "state"),
        (None, True, True, "checked"),
    ],
)
def test_an_output_is_the_state_where_flax_says_so(
    given, is_known, has_own_step, expected
):
    found = _carries.source_of_output(
        given, is_known=is_known, has_own_step=has_own_step
    )
    assert found == expected
