"""Inputs of every dtype are accepted where JAX refuses to promote dtypes.

Programs are only traced, since promotion is refused while tracing.
"""

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
