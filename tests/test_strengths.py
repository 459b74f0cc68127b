"""Strengths: numbers that raise out of range, and arrays that become NaN there."""

import functools
from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdrop import _strengths

of_number = functools.partial(_strengths.as_strength, name="rate")
scheduled = functools.partial(_strengths.scheduled_strength, name="c")


@pytest.mark.parametrize("value", [0, 2, 0.5, np.float64(0.5), Decimal("0.5"), 2**40])
def test_numbers_stay_python_floats(value):
    found = of_number(value)
    assert type(found) is float and found == float(value)


@pytest.mark.parametrize("value", [-1, -1e-30, float("nan"), np.inf, np.float32(-2)])
def test_numbers_out_of_range_raise_by_name(value):
    with pytest.raises(ValueError, match=r"^rate must be finite and at least 0"):
        of_number(value)


def test_a_number_beyond_the_default_float_is_refused_unless_it_is_wide():
    with pytest.raises(ValueError, match=r"at most 3\.40282e\+38, .* got 1e\+39"):
        of_number(1e39)
    with jax.enable_x64(True):
        assert of_number(1e39) == 1e39
    with pytest.raises(TypeError, match=r"^rate must be a number"):
        of_number("0.5")


@pytest.mark.parametrize("value", [-1.0, jnp.inf, -jnp.inf, jnp.nan])
def test_an_array_out_of_range_is_nan_compiled_or_not(value):
    for run in (of_number, jax.jit(of_number)):
        assert np.isnan(run(jnp.float32(value)))
        assert run(jnp.float32(0.25)) == 0.25
    assert of_number(jnp.int32(2)).dtype == jnp.float32
    assert of_number(nnx.Variable(jnp.bfloat16(0.5))) == 0.5


@pytest.mark.parametrize("value", [-1.0, 1e39, float("nan"), jnp.float32(-1)])
def test_a_value_of_a_schedule_never_raises(value):
    assert np.isnan(scheduled(value))
    assert scheduled(0.5) == scheduled(np.float32(0.5)) == scheduled(jnp.float32(0.5))
    assert isinstance(scheduled(0.5), jax.Array)


def test_schedules_are_functions_and_variables_are_not():
    assert _strengths.is_schedule(lambda step: 0.1)
    for value in (0.1, jnp.float32(0.1), nnx.Variable(jnp.float32(0.1)), None):
        assert not _strengths.is_schedule(value)
