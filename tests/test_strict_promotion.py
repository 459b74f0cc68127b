"""Inputs of every dtype are accepted where JAX refuses to promote dtypes.

Programs are only traced, since promotion is refused while tracing.
"""

from functools import partial

import host_arguments as table
import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOMS = ("metrics", "acquisition", "penalties", "diagnostics", "inputs")
NAMES = [name for name in table.CALLS if name.split(".")[0] in ROOMS]
OF_LABELS = ("labels", "correct", "losses", "weights")


def others(parameter, value):
    """The same numbers in other dtypes that users have them in."""
    if value.dtype == bool:
        return []
    if np.issubdtype(value.dtype, np.integer):
        flags = [bool] if parameter in OF_LABELS else []
        return [jnp.asarray(value, dtype) for dtype in (np.uint8, np.int16, *flags)]
    halves = [jnp.asarray(value, dtype) for dtype in (jnp.bfloat16, jnp.float16)]
    whole = np.ones_like(value)
    flags = [jnp.asarray(whole, bool)] if parameter in OF_LABELS else []
    return [*halves, jnp.asarray(whole, np.int32), *flags]


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_are_never_mixed_in_a_promotion(name):
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    for parameter, value in table.CALLS[name].items():
        if not isinstance(value, np.ndarray) or parameter == "args":
            continue
        for other in others(parameter, value):
            call = lambda array, parameter=parameter: table.call(
                name, **{parameter: array}
            )
            try:
                jax.eval_shape(call, other)
            except (TypeError, ValueError) as error:
                assert "promotion" not in str(error), (parameter, other.dtype)


SCALARS = (float, np.generic)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("name", table.CALLS)
def test_a_scalar_of_the_device_may_have_any_dtype(name, x64):
    """Also traced, as from a schedule; what is static is refused."""
    dtypes = (jnp.bfloat16, np.float16, np.float64 if x64 else np.float32, np.int32)
    for parameter, value in table.CALLS[name].items():
        if not isinstance(value, SCALARS):
            continue
        call = lambda number, parameter=parameter: table.call(
            name, **{parameter: number}
        )
        with jax.enable_x64(x64):
            for dtype in dtypes:
                number = jnp.asarray(value, dtype)
                read = jax.device_get(number)[()]
                for given in (partial(call, number), partial(call, read), call):
                    try:
                        jax.eval_shape(given, *([number] if given is call else []))
                    except (TypeError, ValueError) as error:
                        assert "promotion" not in str(error), (parameter, dtype)


def wide(value):
    """The same numbers in 64 bits, of JAX."""
    if isinstance(value, dict):
        return {name: wide(leaf) for name, leaf in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "if":
        return jnp.asarray(value, np.dtype(f"{value.dtype.kind}8"))
    return value


@pytest.mark.parametrize("name", table.CALLS)
def test_in_x64_mode_64_bits_are_not_mixed_with_32(name):
    """Data in 64 bits, with Python numbers for the rest, and all of them in 32 bits."""
    with jax.enable_x64(True):
        for given in (table.CALLS[name], wide(table.CALLS[name])):
            jax.eval_shape(lambda given=given: table.call(name, **given))
