"""Host numbers of every kind as every argument of every public function.

Each gives what the same numbers give as float32 arrays of the device, or an error that
names the argument, or the function whose data they are.
"""

import inspect
from decimal import Decimal
from fractions import Fraction

import host_arguments as table
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_public_api import FAMILY, IN_NAMESPACE

ROOMS = IN_NAMESPACE.keys() - {"nnx", "linen", "plots"}
HUGE = 10**400
TAKES_A_FUNCTION = {
    *("diagnostics.unit_importance", "diagnostics.weight_scaling_gap"),
    *(f"mc.{name}" for name in IN_NAMESPACE["mc"]),
}
"""What compiles the function it is given at each call, unless the caller does."""


def public_functions():
    """The names of all public functions, as rows have them."""
    names = [*FAMILY, *(f"{r}.{n}" for r in ROOMS for n in IN_NAMESPACE[r])]
    functions = {name: table.function_of(name) for name in names}
    return {
        name
        for name, value in functions.items()
        if callable(value) and (not isinstance(value, type) or "Early" in name)
    }


def test_every_public_function_and_every_argument_has_a_row():
    named = {entry for entry in table.WITHOUT_NUMBERS if " " not in entry}
    assert table.CALLS.keys() | named == public_functions()
    for name, given in table.CALLS.items():
        defaults = inspect.signature(table.function_of(name)).parameters
        for parameter in table.parameters_of(table.function_of(name)):
            known = (
                isinstance(defaults[parameter].default, bool | str)
                or parameter in given
                or parameter in table.NOT_NUMBERS
                or f"{name} {parameter}" in table.WITHOUT_NUMBERS
            )
            assert known, f"{name} takes {parameter}, which no row gives"


def alike(value):
    """The same number or numbers, in other dtypes."""
    if isinstance(value, dict):
        return [{**value, "kernel": np.asarray(value["kernel"], np.float64)}]
    if isinstance(value, tuple):
        return [tuple(map(np.int64, value))] if isinstance(value[0], int) else []
    if isinstance(value, int):
        return [np.int64(value), *([np.uint64(value)] if value >= 0 else [])]
    if not np.ndim(value):
        number = float(value)
        return [np.float64(number), Decimal(number), Fraction(number)]
    if value.dtype == bool:
        return []
    if np.issubdtype(value.dtype, np.integer):
        return [value.astype(np.int64), value.astype(np.uint64), value.astype("O")]
    exact = np.vectorize(Decimal, otypes=[object])(value.astype(float))
    return [value.astype(np.float64), exact]


def far(value):
    """Numbers that no 32 bits, no 64 bits or no float at all holds."""
    if isinstance(value, dict):
        return [{**value, "kernel": far(value["kernel"])[2]}]
    if isinstance(value, tuple):
        return [(number, *value[1:]) for number in (2**70, HUGE, -(2**70))]
    if not np.ndim(value):
        numbers = [2**31, np.int64(2**40), np.uint64(2**64 - 1), 2**70, HUGE]
        if isinstance(value, int):
            return [*numbers, -(2**70)]
        return [*numbers[1:], -(2**70), 1e300, Decimal("1e400"), np.float64("nan")]
    if value.dtype == bool:
        return []
    wide = np.asarray(value).astype(object)
    changed = []
    for number in (2**40, 2**70, HUGE, 1e300):
        wide.flat[0] = number
        changed.append(wide.copy())
    if np.issubdtype(value.dtype, np.integer):
        return [changed[0].astype(np.int64), *changed[1:3]]
    whole = np.full(value.shape, 2**64 - 1, np.uint64)
    return [whole, np.full(value.shape, 2**40), changed[3].astype(float), *changed[1:3]]


def on_device(value, original):
    """The numbers on the device: in float32, or labels of which -1 names no class."""
    if isinstance(value, dict):
        return {n: on_device(leaf, original[n]) for n, leaf in value.items()}
    entries = np.asarray(value, object)
    if np.ndim(original) and np.issubdtype(original.dtype, np.integer):
        names = (entries >= 0) & (entries < 2**31)
        return jnp.asarray(np.where(names, entries, -1).astype(np.int32))
    largest = int(np.finfo(np.float32).max)
    within = [e if e != e else min(max(e, -largest), largest) for e in entries.flat]
    return jnp.asarray(np.array(within, np.float32).reshape(entries.shape))


def outcome(name, **changed):
    """The numbers that a call returns, or its error."""
    try:
        result = table.call(name, **changed)
    except (TypeError, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"
    as_numbers = lambda leaf: (
        jax.random.key_data(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf
    )
    leaves = (as_numbers(jnp.asarray(leaf)) for leaf in jax.tree.leaves(result))
    return [np.asarray(leaf, np.float64) for leaf in leaves], ""


def is_close(found, expected):
    return len(found) == len(expected) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)
        for a, b in zip(found, expected, strict=True)
    )


def check(name, parameter, value, expected):
    """Fails unless the numbers are right or the error has a name."""
    found, error = outcome(name, **{parameter: value})
    if found is None:
        _, _, rest = error.split(": ", 2)  # the type, the function, the rest
        names = {
            parameter,
            "input",
            "leaves",
            "the array",
            *(value if isinstance(value, dict) else ()),
        }
        assert any(n in rest for n in names), error
        return
    expected = expected()
    assert expected is None or is_close(found, expected), f"{parameter}={value!r}"


@pytest.fixture(scope="module")
def compiled():
    """An entry for each program that was compiled."""
    events = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", table.CALLS)
def test_host_numbers_give_the_right_result_or_an_error_with_a_name(name, compiled):
    whole, error = outcome(name)
    assert whole is not None, error
    before = len(compiled)
    assert is_close(outcome(name)[0], whole)
    assert len(compiled) == before or name in TAKES_A_FUNCTION, "compiled at each call"
    for parameter, value in table.CALLS[name].items():
        if parameter in table.NOT_NUMBERS or callable(value) or parameter == "args":
            continue
        lists = [value.tolist()] if isinstance(value, np.ndarray) else []
        takes_lists = name.startswith(("metrics", "acquisition"))
        for other in alike(value) + lists * takes_lists:
            check(name, parameter, other, lambda: whole)
        for other in far(value):

            def as_data(parameter=parameter, other=other, original=value):
                if (name, parameter) in table.OF_ANY_SIZE:
                    return None
                data = on_device(other, original)
                found, error = outcome(name, **{parameter: data})
                assert found is not None, f"{parameter}={other!r} passes. {error}"
                return found

            check(name, parameter, other, as_data)


def passes(call, *args):
    """Whether a call raises nothing."""
    try:
        call(*args)
    except (TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", table.CALLS)
def test_a_variable_that_is_taken_may_hold_a_traced_number(name):
    """Under nnx.jit the count of a module holds a tracer, which no host can read."""
    for parameter, value in table.CALLS[name].items():
        if not isinstance(value, int | float | np.ndarray | np.generic):
            continue
        number = jnp.asarray(value)
        alone = lambda x, p=parameter: table.call(name, **{p: x})
        held = lambda x, alone=alone: alone(nnx.Variable(x))
        if not passes(jax.eval_shape, held, number):
            is_taken = passes(jax.eval_shape, alone, number) and passes(held, number)
            assert not is_taken, f"{parameter} in a variable must not be traced"


def as_complex(value):
    """The same numbers as complex ones, of NumPy and of JAX."""
    if isinstance(value, dict):
        return [{**value, "kernel": kernel} for kernel in as_complex(value["kernel"])]
    numbers = np.asarray(value, np.complex64) + np.complex64(0.25j)
    return [numbers, jnp.asarray(numbers)]


@pytest.mark.parametrize("name", table.CALLS)
def test_complex_numbers_are_refused_by_name_where_there_must_be_real_ones(name):
    """JAX and NumPy would leave out the imaginary part, or compare the real one."""
    for parameter, value in table.CALLS[name].items():
        if parameter in table.NOT_NUMBERS or callable(value) or parameter == "args":
            continue
        for number in as_complex(value):
            if (name, parameter) in table.OF_COMPLEX:
                table.call(name, **{parameter: number})
                continue
            found, error = outcome(name, **{parameter: number})
            where = f"{parameter} of {type(number).__name__}"
            assert found is None, f"{where} passes"
            _, _, rest = error.split(": ", 2)
            leaves = value if isinstance(value, dict) else ()
            names = {parameter, parameter.rstrip("_"), "input", *leaves}
            assert any(n in rest for n in names), f"{where}: {error}"


@pytest.mark.parametrize("name", table.CALLS)
def test_nan_of_a_dtype_that_numpy_does_not_know_warns_of_nothing(name):
    """Comparisons of bfloat16 set a flag where those of NumPy's own dtypes do not."""
    for parameter, value in table.CALLS[name].items():
        if isinstance(value, bool) or not isinstance(value, float | np.ndarray):
            continue
        array = np.full(np.shape(value), np.nan, jnp.bfloat16)
        for nan in (array, array[()]):
            outcome(name, **{parameter: nan})
