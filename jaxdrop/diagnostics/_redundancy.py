"""The redundancy of the units of a layer."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxdrop._checks import check_axis, check_inexact
from jaxdrop._errors import named
from jaxdrop._masks import sharding_of
from jaxdrop._norms import power_of_two, split_norms, widened
from jaxdrop._numbers import as_array, as_numbers
from jaxdrop._typing import Array


@named
def co_adaptation(activities: Array, /, *, axis: int = -1) -> Array:
    """Measures the mean absolute correlation of different units, from 0 to 1.

    The mean is over all pairs of units that vary. Dropout lowers it, since units cannot
    rely on each other.

    Args:
      activities: activations of a layer, floating point; all axes except that of the
        units are axes of examples.
      axis: the axis of the units. Static.

    Returns:
      A scalar in [0, 1], in float32 or wider; NaN if fewer than two units vary, or
      an activation is not finite.

    Raises:
      ValueError: if the axis does not exist.
      TypeError: if ``activities`` are not floating point.

    References:
      Cogswell, Ahmed, Girshick, Zitnick, Batra, `Reducing overfitting in deep networks
      by decorrelating representations <https://arxiv.org/abs/1511.06068>`_, ICLR 2016.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import diagnostics
      >>> x = jax.random.normal(jax.random.key(0), (1000, 4))
      >>> bool(diagnostics.co_adaptation(x) < 0.1)
      True
      >>> bool(diagnostics.co_adaptation(jnp.stack([x[:, 0], -x[:, 0]], -1)) > 0.999)
      True
    """
    matrix = _examples_by_units(activities, axis, centered=True)
    known = jnp.isfinite(matrix).all()
    largest = jnp.max(jnp.abs(matrix), axis=0, keepdims=True, initial=0)
    unit = power_of_two(largest).astype(matrix.dtype)
    matrix = matrix / unit  # exact, and no difference overflows
    matrix = matrix - matrix[:1]  # constant units are exactly 0 from here on
    matrix = matrix - jnp.mean(matrix, axis=0, keepdims=True)
    unit, length = split_norms(matrix, (0,))
    varies = length > 0
    length = jnp.where(varies, length, 1).astype(matrix.dtype)
    matrix = jnp.where(varies, matrix / unit.astype(matrix.dtype) / length, 0)
    correlation = jnp.matmul(matrix.conj().T, matrix, precision=lax.Precision.HIGHEST)
    others = jnp.sum(jnp.abs(correlation)) - jnp.sum(jnp.abs(jnp.diagonal(correlation)))
    number = jnp.sum(varies).astype(others.dtype)
    pairs = number * (number - 1)
    mean = others / jnp.where(pairs > 0, pairs, 1)
    return jnp.where((pairs > 0) & known, mean, jnp.nan)


@named
def effective_rank(activities: Array, /, *, axis: int = -1) -> Array:
    """Measures the effective number of directions of activations, a real number.

    The exponential of the entropy of the singular values, normalized to a sum of 1:
    ``n`` equal singular values give ``n``. Centre the activations first if their mean
    should not count as a direction.

    Args:
      activities: activations of a layer, or any matrix, floating point; all axes except
        that of the units are axes of examples.
      axis: the axis of the units. Static.

    Returns:
      A scalar, in float32 or wider, from 1 to the number of units; 0 for zeros, NaN
      if an activation is not finite.

    Raises:
      ValueError: if the axis does not exist.
      TypeError: if ``activities`` are not floating point.

    References:
      Roy, Vetterli, `The effective rank: a measure of effective dimensionality
      <https://www.eurasip.org/Proceedings/Eusipco/Eusipco2007/Papers/a5p-h05.pdf>`_,
      EUSIPCO 2007.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import diagnostics
      >>> float(diagnostics.effective_rank(jnp.eye(8)).round(4))
      8.0
      >>> float(diagnostics.effective_rank(jnp.ones((8, 8))).round(4))
      1.0
    """
    matrix = _examples_by_units(activities, axis)
    largest = jnp.max(jnp.abs(matrix), initial=0)
    known = jnp.isfinite(largest)
    unit = power_of_two(jnp.where(known & (largest > 0), largest, 1))
    matrix = jnp.where(known, matrix / unit.astype(matrix.dtype), 0)
    values = jnp.linalg.svd(matrix, compute_uv=False)
    total = jnp.sum(values)
    share = values / jnp.where(total > 0, total, 1)
    logs = jnp.log(jnp.where(share > 0, share, 1))
    rank = jnp.where(total > 0, jnp.exp(-jnp.sum(share * logs)), 0)
    return jnp.where(known, rank, jnp.nan)


def _examples_by_units(
    activities: Array, axis: int, *, centered: bool = False
) -> Array:
    """Activations as a matrix with a column for each unit, in float32 or wider.

    Arrays from the host may be ``centered`` there, at the first example, since large
    numbers that are close to each other would become equal in float32.
    """
    given: Any = as_numbers(activities, "activities")
    if isinstance(given, np.ndarray) and given.dtype.kind == "f" and given.ndim:
        given = np.moveaxis(given, check_axis(axis, given.ndim, name="axis"), -1)
        given = given.reshape(-1, given.shape[-1]) if given.size else given
        if centered and given.size and np.isfinite(given).all():
            with np.errstate(over="ignore"):
                shifted = given - given[:1]
            given = shifted if np.isfinite(shifted).all() else given
        axis = -1
    given = check_inexact(as_array(given, name="activities"), name="activities")
    units = check_axis(axis, given.ndim, name="axis")
    moved = jnp.moveaxis(widened(_whole(given)), units, -1)
    return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def _whole(x: Array) -> Array:
    """``x`` on every device, if it is sharded over an explicit mesh."""
    sharding = sharding_of(x)
    if sharding is None:
        return x
    return jax.sharding.reshard(x, NamedSharding(sharding.mesh, PartitionSpec()))
