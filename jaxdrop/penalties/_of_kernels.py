"""Penalties of kernels as matrices: orthogonality and spectral norms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxdrop._checks import as_count
from jaxdrop._errors import named
from jaxdrop._loops import as_carry
from jaxdrop._masks import sharding_of
from jaxdrop._norms import norms, power_of_two, squared, widened
from jaxdrop._typing import Array, Axes, PyTree, Scalar, Where
from jaxdrop._weights import Patterns, Selection, UnitAxes, size_of, unit_axes
from jaxdrop.penalties._sums import over_leaves


@named
def orthogonal(
    params: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    axis: UnitAxes = None,
    where: Where | None = None,
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> Array:
    """Penalizes units that are not orthonormal: ``||W'W - I||**2``, Frobenius norm.

    ``W`` has one column for each unit. If there are more units than inputs, they cannot
    be orthonormal; then the rows are penalized, ``||WW' - I||**2``, so that the penalty
    can always reach 0.

    Args:
      params: parameters; see :func:`l1`.
      coefficient: as in :func:`l1`.
      axis: the input axes of a unit, as in :func:`group_lasso`.
      where: as in :func:`group_lasso`.
      stacked: as in :func:`group_lasso`.
      allow_empty: as in :func:`l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, an axis does not exist, or no leaf is
        selected.

    References:
      Bansal, Chen, Wang, `Can we gain more from orthogonality regularizations in
      training deep CNNs? <https://arxiv.org/abs/1810.09102>`_, NeurIPS 2018 (soft
      orthogonality).

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> float(penalties.orthogonal({"kernel": jnp.eye(5, 3)}))
      0.0
      >>> float(penalties.orthogonal({"kernel": 2 * jnp.eye(5, 3)}))
      27.0
    """

    def penalty(name: str, leaf: Array) -> Array:
        tall = _tall_matrix(leaf, unit_axes(axis, name, leaf))
        gram = _product(tall.conj().T, tall)
        return jnp.sum(squared(gram - jnp.eye(gram.shape[0], dtype=gram.dtype)))

    return over_leaves(
        penalty,
        params,
        Selection(where, stacked, allow_empty),
        coefficient=coefficient,
    )


@named
def spectral(
    params: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    num_iterations: int | None = None,
    axis: UnitAxes = None,
    where: Where | None = None,
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> Array:
    """Adds up the squares of the largest singular values of all kernels.

    The largest singular value is the Lipschitz constant of a linear layer. The
    published factor of one half is not included; use the coefficient. Gradients treat
    the singular vector as a constant, which is exact for first derivatives, but not for
    second ones.

    Without ``num_iterations`` the singular vector comes from an eigendecomposition. On
    a TPU, for which that takes long to compile, it comes from repeated squaring of the
    Gram matrix: 32 matrix products, equal to as many steps of power iteration as
    float32 can resolve.

    Args:
      params: parameters; see :func:`l1`.
      coefficient: as in :func:`l1`.
      num_iterations: how many steps of power iteration, from a fixed start, are used to
        find the singular vector; the estimate is never too large. None for the exact
        value, which takes seconds for kernels of many thousand units. Static.
      axis: the input axes of a unit, as in :func:`group_lasso`.
      where: as in :func:`group_lasso`.
      stacked: as in :func:`group_lasso`.
      allow_empty: as in :func:`l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, ``num_iterations`` is less than 1, an
        axis does not exist, or no leaf is selected.

    References:
      Yoshida, Miyato, `Spectral norm regularization for improving the generalizability
      of deep learning <https://arxiv.org/abs/1705.10941>`_, 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> float(penalties.spectral({"kernel": jnp.diag(jnp.array([1.0, -3.0]))}))
      9.0
    """
    if num_iterations is not None:
        num_iterations = as_count(num_iterations, name="num_iterations")

    def penalty(name: str, leaf: Array) -> Array:
        tall = _tall_matrix(leaf, unit_axes(axis, name, leaf))
        if not tall.size:
            return jnp.sum(squared(tall))
        direction = _top_direction(lax.stop_gradient(tall), num_iterations)
        return jnp.sum(squared(_product(tall, direction)))

    return over_leaves(
        penalty,
        params,
        Selection(where, stacked, allow_empty),
        coefficient=coefficient,
    )


def _tall_matrix(leaf: Array, axes: Axes) -> Array:
    """A kernel as a matrix with at least as many rows as columns, float32 or wider."""
    inputs_first = jnp.moveaxis(widened(leaf), axes, range(len(axes)))
    units = size_of(leaf, tuple(set(range(leaf.ndim)) - set(axes)))
    matrix = inputs_first.reshape(size_of(leaf, axes), units)
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


@partial(jax.jit, static_argnames="num_iterations")  # eagerly, it compiles each time
def _top_direction(tall: Array, num_iterations: int | None) -> Array:
    """The right singular vector of the largest singular value, of length 1."""
    tall = tall / power_of_two(jnp.max(jnp.abs(tall))).astype(tall.dtype)
    if num_iterations is None:
        gram = _product(tall.conj().T, tall)
        exact: Array = lax.platform_dependent(
            gram, tpu=_top_by_squaring, default=_top_by_decomposition
        )
        return exact
    # Not optax.power_iteration, which gives NaN for a matrix of zeros.
    start = np.random.default_rng(0).standard_normal(tall.shape[1])

    def step(_: int, direction: Array) -> Array:
        image = _product(tall.conj().T, _product(tall, direction))
        length = norms(image, (0,))
        return image / jnp.where(length > 0, length, 1).astype(image.dtype)

    unit = jnp.asarray(start / np.linalg.norm(start), tall.dtype)
    first = as_carry(lambda direction: step(0, direction), unit)
    found: Array = lax.fori_loop(0, num_iterations, step, first)
    return found


def _top_by_decomposition(gram: Array) -> Array:
    """The eigenvector of the largest eigenvalue, of length 1."""
    return jnp.linalg.eigh(gram)[1][:, -1]


def _top_by_squaring(gram: Array) -> Array:
    """The eigenvector of the largest eigenvalue, of length 1, by matrix products only.

    After ``k`` squarings the ratio of two eigenvalues has been raised to the power of
    ``2**k``. Eigenvalues whose share is not negligible then differ from the largest one
    by less than a rounding error.
    """
    num_squarings = np.finfo(gram.dtype).nmant + 9

    def square(_: int, power: Array) -> Array:
        power = (power + power.conj().T) / 2  # keeps rounding errors from growing
        return _over_trace(_product(power, power))

    power = lax.fori_loop(0, num_squarings, square, _over_trace(gram))
    column = jnp.take(power, jnp.argmax(jnp.diagonal(power).real), axis=1)
    length = norms(column, (0,))
    return column / jnp.where(length == 0, 1, length).astype(column.dtype)


def _over_trace(gram: Array) -> Array:
    trace = jnp.trace(gram)
    return gram / jnp.where(trace == 0, 1, trace)


def _product(a: Array, b: Array) -> Array:
    """A product; on an explicit mesh every device has the whole of it."""
    spread = sharding_of(a) or sharding_of(b)
    where = spread and NamedSharding(spread.mesh, PartitionSpec())
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST, out_sharding=where)
