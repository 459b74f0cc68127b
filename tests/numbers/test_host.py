"""Numbers on the host: read exactly, and refused by name where no dtype holds them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdrop import _numbers

NEAR_ONE = 1 - np.array([1e-9, 2e-9, 3e-9])


def test_in_x64_mode_64_bits_stay():
    with jax.enable_x64(True):
        assert _numbers.as_array(np.array([2**40 + 1]), name="x").dtype == np.int64
        assert _numbers.as_array(2**64, name="x").dtype == np.float64
        assert _numbers.in_order(x=NEAR_ONE)[0].dtype == np.float64


@pytest.mark.parametrize(
    "value",
    [
        *(None, "a", ["a"], [1, None], {"a": 1}, [[1], [1, 2]]),
        *(np.array(["2020"], "M8[D]"), np.array([5], "m8[s]"), [jnp.ones(2), "a"]),
    ],
)
def test_what_is_not_a_number_is_named(value):
    with pytest.raises(TypeError, match=r"^x must be an array of numbers, got "):
        _numbers.as_array(value, name="x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            1e300,
            r"^x holds 1e\+300, and the largest float32 is 3.40282e\+38; rescale it",
        ),
        ([1.0, -1e39], r"^x holds -1e\+39, and the largest float32"),
        (10**400, "^x holds a number that is too large for a float"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "^x has masked entries.* fill them"),
        ([1.0, np.ma.masked], "^x has masked entries.* fill them"),
    ],
)
def test_what_a_float_does_not_hold_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        _numbers.as_array(value, name="x")


def test_lists_of_arrays_and_numbers_keep_what_float32_cannot_hold():
    low, high = ([jnp.float32(0), number] for number in (1.0, 1 + 1e-9))
    low, high = _numbers.relative(low=low, high=high)
    np.testing.assert_allclose(high - low, [0, 1e-9], rtol=1e-6)
    variable = nnx.Variable(np.array([3_000_000_000, 3_000_000_001]))
    low, high = _numbers.in_order(x=variable)[0]
    assert low < high
    traced = jax.jit(lambda x: _numbers.as_array([x, np.int64(2**40)], name="x"))
    np.testing.assert_array_equal(traced(jnp.float32(1)), np.float32([1, 2**40]))


def test_an_empty_list_is_an_array_of_any_kind():
    assert _numbers.as_labels([], name="x").dtype == np.int32
    assert _numbers.as_array([], name="x").shape == (0,)


def test_a_list_of_arrays_of_several_shapes_is_refused_by_name():
    with pytest.raises(TypeError, match="x must be"):
        _numbers.as_array([jnp.ones(2), jnp.ones(3)], name="x")


@pytest.mark.parametrize("dtype", ["b1", "i8", "u4", "f2", "c8", "bfloat16"])
def test_what_jax_takes_is_numeric(dtype):
    assert _numbers.is_numeric(np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[D]", "m8[s]"])
def test_text_dates_and_objects_are_not_numeric(dtype):
    assert not _numbers.is_numeric(np.dtype(dtype))
