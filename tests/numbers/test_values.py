"""Numbers of every kind as arrays, labels, identifiers, scalars and pairs."""

from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import _numbers

LARGE = 3_000_000_000


@pytest.mark.parametrize(
    ("value", "expected", "dtype"),
    [
        (np.array([LARGE]), [3e9], np.float32),
        (LARGE, 3e9, np.float32),
        ([LARGE, -LARGE], [3e9, -3e9], np.float32),
        (np.array([2**63, 1], np.uint64), [2**63, 1], np.float32),
        (2**100, 2.0**100, np.float32),
        (np.array([7, -7]), [7, -7], np.int32),
        (np.array([True]), [True], bool),
        (np.int8([-3]), [-3], np.int8),
        (np.array([0.5, np.nan]), [0.5, np.nan], np.float32),
        ([Decimal("0.25"), Fraction(1, 4)], [0.25, 0.25], np.float32),
        ([Decimal("NaN"), Decimal("Infinity")], [np.nan, np.inf], np.float32),
        ([Decimal("sNaN"), 1], [np.nan, 1], np.float32),
        ([jnp.int32(1), np.int64(2**40)], [1, 2**40], np.float32),
        ([jnp.float32(1), 2**70], [1, 2**70], np.float32),
        ([[jnp.ones(()), 2**40], [0, 1]], [[1, 2**40], [0, 1]], np.float32),
        (np.array([2**40, 1], object), [2**40, 1], np.float32),
        (jnp.bfloat16([0.5]), [0.5], jnp.bfloat16),
    ],
)
def test_numbers_arrive_as_they_are(value, expected, dtype):
    found = _numbers.as_array(value, name="x")
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found, float), expected)
    assert jax.jit(lambda a: a)(found).dtype == dtype  # JAX converts nothing again


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([2**32, 1, -5]), [-1, 1, -1]),
        (np.array([2**63, 3], np.uint64), [-1, 3]),
        ([2**70, 2], [-1, 2]),
        (np.uint8([255]), [255]),
        (jnp.uint32([2**32 - 1, 4]), [-1, 4]),
        (jnp.int8([-1, 4]), [-1, 4]),
        ([True, False], [True, False]),
    ],
)
def test_labels_do_not_wrap(labels, expected):
    np.testing.assert_array_equal(_numbers.as_labels(labels, name="y"), expected)


@pytest.mark.parametrize("labels", [1.5, [Decimal("1.5")], np.float32([1]), 1j])
def test_labels_are_integers(labels):
    with pytest.raises(TypeError, match=r"^y must be integers, got"):
        _numbers.as_labels(labels, name="y")


@pytest.mark.parametrize("value", [0.5, Decimal("0.5"), np.float64(0.5), np.array(0.5)])
def test_scalars(value):
    assert _numbers.as_scalar(value, name="x") == 0.5


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (True, TypeError, "^x must be a number, got True"),
        ("a", TypeError, "^x must be a number, got 'a'"),
        (1j, TypeError, "^x must be a real number"),
        ([1.0], ValueError, "^x must be a scalar"),
        (10**400, ValueError, "^x holds a number that is too large"),
    ],
)
def test_what_is_not_a_scalar_is_named(value, error, message):
    with pytest.raises(error, match=message):
        _numbers.as_scalar(value, name="x")


@pytest.mark.parametrize(
    ("value", "mean", "difference"),
    [
        (np.array([1e9 + 0.25]), 1e9, 0.25),
        ([2**40 + 1], 2.0**40, 1),
        ([Decimal("0.1")], np.float32(0.1), 0.1 - float(np.float32(0.1))),
        ([10**30 + 1], 1e30, float(10**30 + 1 - int(np.float32(1e30)))),
        (np.array([3], np.int32), 1.0, 2),
        (jnp.float32([3]), 1.0, 2),
    ],
)
def test_both_parts_of_a_number_have_its_difference(value, mean, difference):
    nearest, rest = _numbers.in_parts(value, name="x")
    found = (jnp.asarray(nearest) - jnp.float32(mean)) + rest
    np.testing.assert_allclose(found, [difference], rtol=1e-6)


def test_what_is_not_finite_has_no_second_part():
    nearest, rest = _numbers.in_parts(np.array([np.nan, -np.inf, 1.0]), name="x")
    np.testing.assert_array_equal(nearest, [np.nan, -np.inf, 1])
    np.testing.assert_array_equal(rest, [0, 0, 0])
    with pytest.raises(ValueError, match=r"^x holds 1e"):
        _numbers.in_parts([1e300], name="x")


@pytest.mark.parametrize("number", [2**32, -(2**31) - 1, 2**70])
def test_identifiers_beyond_32_bits_are_refused(number):
    assert _numbers.as_ids([7, 2**32 - 1], name="ids").tolist() == [7, 2**32 - 1]
    with pytest.raises(ValueError, match=r"^ids must be"):
        _numbers.as_ids([number], name="ids")
    with pytest.raises(TypeError, match=r"^ids must be integers"):
        _numbers.as_ids([Decimal("0.5")], name="ids")


@pytest.mark.parametrize("number", [1j, np.ones(2, np.complex64), [1, 2j]])
@pytest.mark.parametrize("door", [_numbers.as_real, _numbers.in_parts])
def test_complex_numbers_are_not_real(door, number):
    for value in (number, jnp.asarray(number)):
        with pytest.raises(TypeError, match="x must hold real numbers, got an array"):
            door(value, name="x")


def test_a_static_number_is_known_before_tracing():
    assert _numbers.as_known(jnp.bfloat16(0.5), name="x") == 0.5
    with pytest.raises(TypeError, match="x is static, and must be known before"):
        jax.jit(lambda x: _numbers.as_known(x, name="x"))(1.0)
    with pytest.raises(ValueError, match=r"x must be a scalar, got .* \(2,\); use"):
        _numbers.as_scalar([1, 2], name="x", remedy="; use vmap")
