"""Strengths of techniques: coefficients, limits, deviations, from any source.

A number of the host is checked and raises. What is read on the device cannot raise: it
becomes NaN where a number would have been refused.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._numbers import as_scalar
from jaxdrop._typing import Array


def as_strength(value: Any, /, *, caller: str, name: str) -> float | Array:
    """Returns a finite number of at least 0, or raises naming the argument.

    Args:
      value: a number; a JAX scalar, traced or not; or a variable of Flax that holds
        one of these.
      caller: the public function on whose behalf errors are raised.
      name: the argument.

    Returns:
      A Python float for a number. For a JAX scalar itself, NaN where it is negative,
      infinite or NaN.
    """
    scalar = as_scalar(value, name=f"{caller}: {name}")
    if isinstance(scalar, jax.Array):
        return _poisoned(scalar)
    if not 0 <= scalar < np.inf:
        raise ValueError(
            f"{caller}: {name} must be finite and at least 0, got {value}."
        )
    if scalar > _largest():
        raise ValueError(
            f"{caller}: {name} must be at most {_largest():g}, the largest number of "
            f"{jnp.result_type(float)}, got {scalar:g}; pass a smaller one, or enable "
            "x64."
        )
    return scalar


def scheduled_strength(value: Any, /, *, caller: str, name: str) -> Array:
    """Like :func:`as_strength` for a value that a schedule or a variable supplies.

    Numbers out of range become NaN as well: what a step does must not depend on
    whether its schedule computes with NumPy or with JAX.
    """
    scalar = as_scalar(value, name=f"{caller}: {name}")
    if not isinstance(scalar, jax.Array):
        held = scalar if scalar <= _largest() else np.inf
        scalar = jnp.asarray(held, jnp.result_type(float))
    return _poisoned(scalar)


def is_schedule(value: Any, /) -> bool:
    """True for a function of the step; a variable of Flax may be callable too."""
    return callable(value) and not hasattr(value, "__jax_array__")


def _largest() -> float:
    """The largest number of JAX's default float."""
    return float(np.finfo(jnp.result_type(float)).max)


def _poisoned(value: Array) -> Array:
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.result_type(float))
    return jnp.where((value >= 0) & (value < jnp.inf), value, jnp.nan)
