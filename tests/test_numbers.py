"""The door for host numbers: nothing wraps or becomes equal, and errors have names."""

from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdrop import _numbers

NEAR_ONE = 1 - np.array([1e-9, 2e-9, 3e-9])
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


def test_lists_of_arrays_and_numbers_keep_what_float32_cannot_hold():
    low, high = ([jnp.float32(0), number] for number in (1.0, 1 + 1e-9))
    low, high = _numbers.relative(low=low, high=high)
    np.testing.assert_allclose(high - low, [0, 1e-9], rtol=1e-6)
    variable = nnx.Variable(np.array([LARGE, LARGE + 1]))
    low, high = _numbers.in_order(x=variable)[0]
    assert low < high
    traced = jax.jit(lambda x: _numbers.as_array([x, np.int64(2**40)], name="x"))
    np.testing.assert_array_equal(traced(jnp.float32(1)), np.float32([1, 2**40]))


def test_an_empty_list_is_an_array_of_any_kind():
    assert _numbers.as_labels([], name="x").dtype == np.int32
    assert _numbers.as_array([], name="x").shape == (0,)


def test_beside_what_is_traced_numbers_are_rounded_and_do_not_wrap():
    @jax.jit
    def difference(x):
        a, b = _numbers.relative(a=x, b=np.array([LARGE]))
        return b - a

    assert difference(jnp.float32([1e9])) == 2e9


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


def test_shares_of_small_and_of_large_arrays():
    flags = np.random.default_rng(0).random((3, 40)) < 0.3
    for axes in ((0,), (1,), (0, 1), ()):
        found = _numbers.share_of_true(jnp.asarray(flags), axes)
        np.testing.assert_allclose(found, flags.mean(axes) if axes else flags)
    assert jnp.isnan(_numbers.share_of_true(jnp.zeros((0, 2), bool), (0,))).all()


def test_counts_in_two_parts_carry(monkeypatch):
    monkeypatch.setattr(_numbers._counts, "_INT32", SimpleNamespace(max=10))
    monkeypatch.setattr(_numbers._counts, "_LOW_BITS", 3)
    flags = np.random.default_rng(0).random((7, 9, 11)) < 0.7
    for axes in ((1,), (0, 2), (0, 1, 2)):
        found = _numbers.share_of_true(jnp.asarray(flags), axes)
        np.testing.assert_allclose(found, flags.mean(axes), rtol=1e-6)


@pytest.mark.parametrize("rows", [2**16 - 1, 2**16, 3 * 2**15])
def test_counts_on_both_sides_of_what_int32_holds(rows):
    @jax.jit
    def share(value):  # XLA fuses the broadcast: nothing of this size is held
        return _numbers.share_of_true(jnp.broadcast_to(value, (rows, 2**15)), (0, 1))

    assert share(True) == 1 and share(False) == 0


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


def test_differences_that_are_too_large_name_both_arguments():
    with pytest.raises(ValueError, match=r"^low and high differ by more than float32"):
        _numbers.relative(low=[0.0], high=[1e300])
