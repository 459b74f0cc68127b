"""Strengths of techniques, such as coefficients, limits and deviations.

A number from the host raises if it is out of range. A JAX scalar cannot raise: it
becomes NaN where a number would have raised.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._numbers import as_scalar
from jaxdrop._typing import Array


def as_strength(value: Any, /, *, name: str) -> float | Array:
    """Returns a finite number of at least 0, or raises with the name of the argument.

    Args:
      value: a number; a JAX scalar, traced or not; or a variable of Flax with one of
        these.
      name: the name of the argument, for errors.

    Returns:
      A Python float for a number. A JAX scalar itself, with NaN where it is negative,
      infinite or NaN.
    """
    scalar = as_scalar(value, name=name)
    if isinstance(scalar, jax.Array):
        return _poisoned(scalar)
    if not 0 <= scalar < np.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value}.")
    if scalar > _largest():
        raise ValueError(
            f"{name} must be at most {_largest():g}, the largest number of "
            f"{jnp.result_type(float)}, got {scalar:g}; pass a smaller one, or enable "
            "x64."
        )
    return scalar


def scheduled_strength(value: Any, /, *, name: str) -> Array:
    """Like :func:`as_strength`, for values of a schedule or a variable.

    Numbers out of range become NaN as well, since the behaviour of a step must not
    depend on whether its schedule uses NumPy or JAX.
    """
    scalar = as_scalar(value, name=name)
    if not isinstance(scalar, jax.Array):
        held = scalar if scalar <= _largest() else np.inf
        scalar = jnp.asarray(held, jnp.result_type(float))
    return _poisoned(scalar)


def is_schedule(value: Any, /) -> bool:
    """Whether a value is a function of the step; variables of Flax are callable too."""
    return callable(value) and not hasattr(value, "__jax_array__")


def _largest() -> float:
    """The largest number of JAX's default float."""
    return float(np.finfo(jnp.result_type(float)).max)


def _poisoned(value: Array) -> Array:
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.result_type(float))
    return jnp.where((value >= 0) & (value < jnp.inf), value, jnp.nan)
