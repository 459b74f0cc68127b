"""Numbers on the host: read exactly, and refused by name where no dtype holds them."""

import jax
import numpy as np
import pytest

from jaxdrop import _numbers

NEAR_ONE = 1 - np.array([1e-9, 2e-9, 3e-9])


def test_in_x64_mode_64_bits_stay():
    with jax.enable_x64(True):
        assert _numbers.as_array(np.array([2**40 + 1]), name="x").dtype == np.int64
        assert _numbers.as_array(2**64, name="x").dtype == np.float64
        assert _numbers.in_order(x=NEAR_ONE)[0].dtype == np.float64


@pytest.mark.parametrize(
    "value",
    [None, "a", ["a"], [1, None], {"a": 1}, [[1], [1, 2]], np.array(["2020"], "M8[D]")],
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
    ],
)
def test_what_a_float_does_not_hold_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        _numbers.as_array(value, name="x")
