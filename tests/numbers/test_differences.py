"""Numbers from the host keep their order and their differences."""

from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import _numbers

NEAR_ONE = 1 - np.array([1e-9, 2e-9, 3e-9])
LARGE = 3_000_000_000


@pytest.mark.parametrize(
    "values",
    [
        NEAR_ONE,
        np.array([2**32 + 5, 3, 2**33, 7]),
        np.array([2**62, 2**62 + 1]),
        np.array([2**64 - 1, 2**64 - 2], np.uint64),
        [2**70 + 1, 2**70, Decimal("0.1")],
        [2**63 + 1, 2**63 + 3, -1],
        [Fraction(1, 3), Fraction(1, 3) + Fraction(1, 10**30)],
    ],
)
def test_order_is_kept(values):
    (found,) = _numbers.in_order(x=values)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(np.array(values, "O")))
    assert np.unique(found).size == len(values)


def test_equal_values_share_a_rank_and_nan_has_none():
    (found,) = _numbers.in_order(x=np.array([0.1, np.nan, 0.1, 0.2]))
    assert found[0] == found[2] < found[3] and np.isnan(found[1])


def test_arrays_are_ordered_among_each_other_whatever_their_dtypes():
    large, small = np.uint64([2**64 - 1, 2**63]), np.int64([-(2**63), 2**63 - 1])
    a, b, c = _numbers.in_order(a=large, b=small, c=jnp.float32(2.0**63))
    assert b[0] < b[1] < a[1] == c < a[0]


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint32])
def test_integers_on_the_device_keep_their_order_and_differences(dtype):
    values = dtype([2**30 + 1, 2**30, 5, 2**31 - 1])
    for function in (lambda f: f, jax.jit):
        order = function(lambda x: _numbers.in_order(x=x)[0])(values)
        assert jnp.argsort(order).tolist() == [2, 1, 0, 3]
        apart = function(lambda x: _numbers.relative(a=x[1], x=x)[1])(values)
        assert apart.tolist() == [1, 0, np.float32(5 - 2.0**30), 2.0**30]
    _, far = _numbers.relative(a=jnp.int32([-(2**31)]), b=jnp.int32([2**31 - 1]))
    assert far == 2.0**32


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [
        (np.array([2**31 - 5]), np.array([2**31 + 5]), 10),
        (np.array([2**64 - 5], np.uint64), np.array([2**64 - 1], np.uint64), 4),
        (np.array([-(2**63)]), np.array([-(2**63) + 3]), 3),
        (np.array([1e9]), np.array([1e9 + 0.25]), 0.25),
        (jnp.float32([2**30]), np.array([2**30 + 1]), 1),
        ([10**300], [10**300 + 2], 2),
        (Decimal("1.1"), [Decimal("1.2")], 0.1),
    ],
)
def test_differences_are_taken_before_numbers_are_rounded(a, b, difference):
    a, b = _numbers.relative(a=a, b=b)
    assert np.float32(b - a) == np.float32(difference)


def test_infinite_ends_stay_infinite():
    low, high = _numbers.relative(low=np.array([-np.inf, 1e9]), high=1e9 + 0.5)
    assert low.tolist() == [-np.inf, 0] and high.tolist() == [1e9, 0.5]


BEYOND = [
    (np.array([2**62, 2**62 + 1]), np.array([-np.inf, np.inf])),
    (np.array([2**64 - 2, 2**64 - 1], np.uint64), np.array([-np.inf, np.inf])),
    ([10**400, 10**400 + 1], [-np.inf, Decimal("Infinity")]),
    ([Decimal("1.1"), Decimal("1.1") + Decimal("1e-20")], [-np.inf, np.inf]),
]


@pytest.mark.parametrize("values, ends", BEYOND)
def test_beside_infinity_exact_numbers_stay_apart(values, ends):
    values, ends = _numbers.in_order(values=values, ends=ends)
    assert ends[0] < values[0] < values[1] < ends[1]
    mixed = [*np.asarray(values, object), np.nan]
    assert np.isnan(_numbers.in_order(mixed=mixed)[0][-1])


@pytest.mark.parametrize("values, ends", BEYOND[:3])
def test_beside_infinity_differences_of_exact_numbers_are_right(values, ends):
    values, ends = _numbers.relative(values=values, ends=ends)
    assert list(values - values[0]) == [0, 0]  # relative to themselves
    np.testing.assert_array_equal(ends, [-np.inf, np.inf])
    row = [10**400, 10**400 + 1, -np.inf]
    np.testing.assert_array_equal(_numbers.as_logits(row, name="x"), [-1, 0, -np.inf])


def test_logits_are_relative_to_the_largest():
    logits = np.array([[1e9, 1e9 + 1], [np.finfo(float).min, 0.1], [-np.inf, 2**30]])
    found = _numbers.as_logits(logits, name="logits")
    assert found[0].tolist() == [-1, 0]
    np.testing.assert_array_equal(jax.nn.softmax(found[1:]), [[0, 1], [0, 1]])


def test_beside_what_is_traced_numbers_are_rounded_and_do_not_wrap():
    @jax.jit
    def difference(x):
        a, b = _numbers.relative(a=x, b=np.array([LARGE]))
        return b - a

    assert difference(jnp.float32([1e9])) == 2e9


def test_integers_are_ranked_in_programs_with_a_symbolic_batch():
    (batch,) = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct
    order = jax.jit(lambda x, y: _numbers.in_order(x=x, y=y))
    exported = jax.export.export(order)(
        shape((batch,), jnp.int32), shape((2, batch), jnp.int32)
    )
    x, y = exported.call(
        jnp.array([2**30 + 1, 2**30, 5]), jnp.array([[2**30 + 2, 6, 4], [5, 5, -1]])
    )
    assert y[0, 0] > x[0] > x[1] > y[0, 1] > x[2] == y[1, 0] == y[1, 1] > y[0, 2]


def test_differences_that_are_too_large_name_both_arguments():
    with pytest.raises(ValueError, match=r"^low and high differ by more than float32"):
        _numbers.relative(low=[0.0], high=[1e300])
