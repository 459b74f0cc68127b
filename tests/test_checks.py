"""Checks before tracing that many functions share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop import masks
from jaxdrop._checks import (
    as_axes,
    as_count,
    as_static,
    check_axis,
    check_same_shape,
    is_zero,
    select,
)

INT32_MAX = 2**31 - 1


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3), jnp.int32(3)])
def test_whole_numbers_of_any_kind_are_counts(value):
    count = as_count(value, name="n")
    assert (count, type(count)) == (3, int)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, np.array([3, 4])])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"^f: n must be an integer, got"):
        as_count(value, name="f: n")


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None])
def test_what_is_not_an_integer_is_not_an_axis(value):
    with pytest.raises(TypeError, match=r"^axis must be an integer, got"):
        check_axis(value, 3, name="axis")


def test_a_traced_number_is_refused():
    with pytest.raises(TypeError, match="n must be an integer"):
        jax.jit(lambda n: as_count(n, name="n"))(3)


@pytest.mark.parametrize(
    "limits, inside, below, above",
    [
        ({}, (1, INT32_MAX), 0, INT32_MAX + 1),
        ({"least": 0}, (0, INT32_MAX), -1, INT32_MAX + 1),
        ({"least": -2, "most": 5}, (-2, 5), -3, 6),
        ({"least": None, "most": 5}, (-(10**30), 5), None, 6),
        ({"most": None}, (1, 10**30), 0, None),
    ],
)
def test_counts_have_limits(limits, inside, below, above):
    for value in inside:
        assert as_count(value, name="n", **limits) == value
    if below is not None:
        with pytest.raises(ValueError, match=f"n must be at least .*, got {below}"):
            as_count(below, name="n", **limits)
    if above is not None:
        with pytest.raises(ValueError, match=f"n must be at most .*, got {above}"):
            as_count(above, name="n", **limits)


def test_only_a_number_that_is_0_is_known_to_be_0():
    narrow = np.zeros((), jnp.bfloat16)[()]
    assert is_zero(0) and is_zero(np.float32(0)) and is_zero(narrow)
    assert not is_zero(0.1) and not is_zero(jnp.zeros(())) and not is_zero(10**400)


def test_what_is_no_axis_shape_switch_or_sharding_is_refused_by_name():
    key, x = jax.random.key(0), jnp.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"mask has shape \(2, 2\), which does not bro"
    ):
        masks.apply(x, x[:, :2] > 0, keep=0.5)
    with pytest.raises(TypeError, match="got a PRNG key; a function that draws takes"):
        jaxdrop.dropout(x, key, rate=0.5)
    with pytest.raises(TypeError, match="out_sharding must be a NamedSharding"):
        masks.bernoulli(key, (2,), rate=0.5, out_sharding="data")
    with pytest.raises(TypeError, match="broadcast_dims must be an integer"):
        jaxdrop.dropout(key, x, rate=0.5, broadcast_dims=["batch"])
    kept = masks.apply(x, x > 0, keep=0.5, scale=np.array(False))
    np.testing.assert_array_equal(kept, x)


def test_both_arguments_are_named_whose_shapes_differ():
    check_same_shape(jnp.ones(3), np.ones(3), names="a and b")
    message = r"^a and b must have the same shape, got \(3,\) and \(3, 1\)\.$"
    with pytest.raises(ValueError, match=message):
        check_same_shape(jnp.ones(3), np.ones((3, 1)), names="a and b")


def test_axes_and_knobs_become_static():
    assert as_axes(2) == (2,)
    assert as_axes([0, -1]) == (0, -1)
    assert as_static([np.array([1, 2]), 3]) == ((1, 2), 3)


def test_a_known_mode_chooses_in_python_and_a_traced_one_by_where():
    assert select(True, "evaluation", "training") == "evaluation"
    assert select(False, "evaluation", "training") == "training"
    chosen = jax.jit(select)(jnp.bool_(True), jnp.float32(1), jnp.float32(2))
    assert chosen == 1
