"""Measurements of single units: whether they are active, and whether they matter."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._checks import as_count, check_axis, check_callable, check_inexact
from jaxdrop._errors import named
from jaxdrop._numbers import as_array, as_numbers, as_real, share_of_true
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, ArrayLike, Axes, PyTree, Scalar


@named
def dead_units(
    activities: PyTree, /, *, threshold: Scalar = 0.0, axis: int = -1
) -> PyTree:
    """Finds units that are never active.

    A unit is dead if the absolute values of all its activations are at most
    ``threshold``. For several batches combine the results with ``&``.

    Args:
      activities: activations after the nonlinearity, or a tree of such, for example
        those that ``sow`` has collected from all layers.
      threshold: the largest inactive value: a number of at least 0, or a JAX scalar.
      axis: the axis of the units. Static.

    Returns:
      For each array a bool for each of its units. A unit with NaN is not dead; for
      a JAX ``threshold`` that is negative or NaN none is.

    Raises:
      ValueError: if ``threshold`` is negative or the axis does not exist.

    References:
      Lu, Shin, Su, Karniadakis, `Dying ReLU and initialization
      <https://arxiv.org/abs/1903.06733>`_, 2019.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import diagnostics
      >>> diagnostics.dead_units(jnp.array([[0.0, 1.0], [0.0, 0.0]])).tolist()
      [True, False]
    """
    threshold = as_strength(threshold, name="threshold")

    def dead(leaf: Any) -> Array:
        leaf = as_numbers(leaf, "activities")
        others = _other_axes(leaf, axis)
        return jnp.all(_is_inactive(leaf, threshold), axis=others)

    return jax.tree.map(dead, activities)


@named
def activation_sparsity(
    activities: PyTree, /, *, threshold: Scalar = 0.0, axis: int | None = None
) -> PyTree:
    """Measures the share of inactive activations, which dropout is known to raise.

    Args:
      activities: as in :func:`dead_units`.
      threshold: as in :func:`dead_units`.
      axis: the axis of the units, for one share per unit; None for one share. Static.

    Returns:
      For each array the share of activations with absolute values of at most
      ``threshold``, in float32: a scalar, or one for each unit; NaN if there are no
      activations, if one of them is NaN, or for a JAX ``threshold`` that is negative.

    Raises:
      ValueError: if ``threshold`` is negative or the axis does not exist.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, `Dropout: a simple way
      to prevent neural networks from overfitting
      <https://jmlr.org/papers/v15/srivastava14a.html>`_, JMLR 2014, section 7.2.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import diagnostics
      >>> activities = {"hidden": jnp.array([[0.0, 1.0], [0.0, 0.0]])}
      >>> float(diagnostics.activation_sparsity(activities)["hidden"])
      0.75
    """
    threshold = as_strength(threshold, name="threshold")

    def sparsity(leaf: Any) -> Array:
        leaf = as_numbers(leaf, "activities")
        others = _other_axes(leaf, axis)
        share = share_of_true(_is_inactive(leaf, threshold), others)
        known = jnp.asarray(threshold) >= 0
        if isinstance(leaf, np.ndarray):
            known &= ~np.asarray(leaf != leaf, bool).any(others)  # objects as well
        elif jnp.issubdtype(leaf.dtype, jnp.inexact):
            known &= ~jnp.isnan(leaf).any(others)
        return jnp.where(known, share, jnp.nan)

    return jax.tree.map(sparsity, activities)


@named
def unit_importance(
    function: Callable[[Array], PyTree],
    activities: Array,
    /,
    *,
    fill: ArrayLike = 0.0,
    axis: int = -1,
    chunk_size: int | None = None,
) -> PyTree:
    """Measures the increase of a loss when one unit is removed, for each unit.

    It is smaller in networks trained with dropout, whose units do not rely on each
    other.

    Args:
      function: the rest of the network, a function of the activations that returns a
        loss, or any tree of arrays such as the loss of each example.
      activities: activations of a layer, floating point.
      fill: the value in place of the removed unit: a number, or one for each unit, such
        as the means ``activities.mean(axis=0)``.
      axis: the axis of the units. Static.
      chunk_size: the number of units that are processed at once, each with its own copy
        of the activations; None for all. Static.

    Returns:
      The outputs of ``function`` minus those with all units, with the axis of the units
      in front.

    Raises:
      ValueError: if the axis does not exist, or ``chunk_size`` is less than 1.
      TypeError: if ``activities`` are not floating point.

    References:
      Morcos, Barrett, Rabinowitz, Botvinick, `On the importance of single directions
      for generalization <https://arxiv.org/abs/1803.06959>`_, ICLR 2018.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import diagnostics
      >>> loss = lambda hidden: -(hidden @ jnp.array([1.0, 0.0, 2.0])).mean()
      >>> diagnostics.unit_importance(loss, jnp.ones((4, 3))).tolist()
      [1.0, 0.0, 2.0]
    """
    activities = check_inexact(activities, name="activities")
    units = check_axis(axis, activities.ndim, name="axis")
    if chunk_size is not None:
        chunk_size = as_count(chunk_size, name="chunk_size")
    check_callable(function, name="function")
    whole = function(activities)
    position = lax.broadcasted_iota(jnp.int32, activities.shape, units)
    line = [1] * activities.ndim
    line[units] = -1
    filling = jnp.asarray(_filling(fill, activities)).astype(activities.dtype)
    if filling.shape not in ((), (activities.shape[units],)):
        raise ValueError(
            f"fill must be a scalar or of shape ({activities.shape[units]},), got "
            f"{filling.shape}."
        )
    filling = filling.reshape(line) if filling.ndim else filling

    def without(unit: Array) -> Any:
        lesioned = jnp.where(position == unit, filling, activities)
        return jax.tree.map(jnp.subtract, function(lesioned), whole)

    number = activities.shape[units]
    each = jnp.arange(number, dtype=jnp.int32)
    return lax.map(without, each, batch_size=chunk_size or number)


def _filling(fill: Any, activities: Array) -> Any:
    """What units are replaced by, real where the activities are."""
    door = as_array if jnp.iscomplexobj(activities) else as_real
    return door(fill, name="fill")


def _is_inactive(leaf: Any, threshold: Array | float) -> Array:
    """True for small activations; NaN is not small.

    Arrays from the host are compared there, where no number is rounded to 0.
    """
    if leaf.dtype == bool:
        leaf = leaf.astype(np.int32)
    if isinstance(leaf, np.ndarray) and not isinstance(threshold, jax.Array):
        with np.errstate(invalid="ignore"):  # of NaN among objects
            small = np.abs(leaf.astype(_wide(leaf))) <= threshold
        return jnp.asarray(np.asarray(small, bool))
    values = jnp.asarray(as_array(leaf, name="activities"))
    if not jnp.issubdtype(values.dtype, jnp.integer):
        least = jnp.minimum(jnp.asarray(threshold), jnp.inf)
        return jnp.abs(values) <= least.astype(values.real.dtype)
    limits = np.iinfo(values.dtype)  # the modulus of the smallest integer may not fit
    if not isinstance(threshold, jax.Array):
        most = min(int(threshold), int(limits.max))
        low = values.dtype.type(max(-int(threshold), int(limits.min)))
        return (values <= values.dtype.type(most)) & (values >= low)
    return jnp.abs(values.astype(jnp.result_type(float))) <= threshold


def _wide(leaf: np.ndarray) -> Any:
    """A dtype in which the modulus of an integer fits."""
    return (
        object
        if leaf.dtype.kind in "iu" and leaf.dtype.itemsize == 8
        else (np.int64 if leaf.dtype.kind in "iu" else leaf.dtype)
    )


def _other_axes(leaf: Any, axis: int | None) -> Axes:
    if axis is None:
        return tuple(range(leaf.ndim))
    units = check_axis(axis, leaf.ndim, name="axis")
    return tuple(other for other in range(leaf.ndim) if other != units)
