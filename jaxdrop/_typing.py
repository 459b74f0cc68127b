"""The few type names that every signature in the library is written with."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.typing
import numpy as np
from typing_extensions import TypeAliasType

Array: TypeAlias = jax.Array

ArrayLike = TypeAliasType("ArrayLike", jax.typing.ArrayLike)
"""JAX's own union of eight types, which ``help`` and signatures show by this name."""

Key: TypeAlias = jax.Array
"""One PRNG key: typed (``jax.random.key``) or raw uint32 (``jax.random.PRNGKey``)."""

Scalar: TypeAlias = float | jax.Array
"""A number, which is checked, or a JAX array, which is data."""

Rate: TypeAlias = Scalar
"""A drop probability."""

Flag: TypeAlias = bool | np.bool_ | jax.Array
"""A Python bool, which decides while tracing, or a traced one, which is data."""

Axes: TypeAlias = tuple[int, ...]

PyTree: TypeAlias = Any

Path: TypeAlias = tuple[Any, ...]
"""The path of a leaf in its tree, as in ``jax.tree_util``."""

Where: TypeAlias = Callable[[str, Array], bool]
"""Selects leaves of a tree by their path (``"encoder/0/kernel"``) and value."""

Schedule: TypeAlias = Callable[[ArrayLike], ArrayLike]
"""From a step to a rate or a coefficient, as optax's schedules."""
