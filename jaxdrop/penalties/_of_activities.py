"""Penalties of activations: of their size, and of their change in time."""

import jax.numpy as jnp
from jax import lax

from jaxdrop._checks import check_axis, check_inexact
from jaxdrop._errors import named
from jaxdrop._norms import moduli, squared, widened
from jaxdrop._numbers import as_real
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, PyTree, Scalar
from jaxdrop._weights import Selection
from jaxdrop.penalties._sums import as_float, over_leaves, scaled_sum


@named
def activity_l1(
    activities: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    batch_axis: int | None = 0,
    allow_empty: bool = False,
) -> Array:
    """Adds up the absolute values of activations, as a mean over the batch.

    Args:
      activities: an array with a batch axis, or a tree of such arrays, for example
        intermediates that were collected by ``sow``.
      coefficient: a number of at least 0, or a JAX scalar, traced or not, which gives
        NaN where it is negative or not finite.
      batch_axis: the axis of the examples; None for the sum over all entries, for use
        under ``vmap``. Static.
      allow_empty: return 0, instead of raising, if there are no activities.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, the axis does not exist, or there are
        no activities.

    References:
      Glorot, Bordes, Bengio, `Deep sparse rectifier neural networks
      <https://proceedings.mlr.press/v15/glorot11a.html>`_, AISTATS 2011.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> float(penalties.activity_l1(jnp.array([[1.0, -2.0], [0.0, 5.0]])))
      4.0
    """
    return over_leaves(
        lambda _, leaf: jnp.sum(moduli(leaf)) / _num_examples(leaf, batch_axis),
        activities,
        Selection(allow_empty=allow_empty, every=True),
        coefficient=coefficient,
    )


@named
def activity_l2(
    activities: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    batch_axis: int | None = 0,
    allow_empty: bool = False,
) -> Array:
    """Adds up the squares of activations, as a mean over the batch.

    Args:
      activities: as in :func:`activity_l1`.
      coefficient: as in :func:`activity_l1`; there is no factor of one half.
      batch_axis: as in :func:`activity_l1`. Static.
      allow_empty: as in :func:`activity_l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, the axis does not exist, or there are
        no activities.

    References:
      Merity, McCann, Socher, `Revisiting activation regularization for language RNNs
      <https://arxiv.org/abs/1708.01009>`_, 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> float(penalties.activity_l2(jnp.array([[1.0, -2.0], [0.0, 5.0]])))
      15.0
    """
    return over_leaves(
        lambda _, leaf: jnp.sum(squared(leaf)) / _num_examples(leaf, batch_axis),
        activities,
        Selection(allow_empty=allow_empty, every=True),
        coefficient=coefficient,
    )


@named
def temporal(
    hidden: Array,
    dropped: Array | None = None,
    /,
    *,
    alpha: Scalar = 2.0,
    beta: Scalar = 1.0,
    time_axis: int = -2,
    mask: Array | None = None,
) -> Array:
    """Penalizes recurrent states that are large or change fast (AR and TAR).

    ``alpha * mean(dropped**2) + beta * mean((h[t + 1] - h[t])**2)``, with means over
    all entries: the size of states after dropout, and their change before it.

    Args:
      hidden: states before dropout, ``(*batch, time, features)``.
      dropped: the same states after dropout; by default ``hidden``.
      alpha: the coefficient of the size: a number of at least 0, or a JAX scalar.
      beta: the coefficient of the change, likewise.
      time_axis: the axis of the steps; the last axis holds features. Static.
      mask: False at padding, of the shape of ``hidden`` without its last axis. Neither
        padding nor a change into or out of it is included in a mean.

    Returns:
      A scalar, accumulated in float32, or in float64 where ``hidden`` is.

    Raises:
      ValueError: if a coefficient is negative, the axis does not exist or is the last
        one, or shapes do not agree.

    References:
      Merity, McCann, Socher, `Revisiting activation regularization for language RNNs
      <https://arxiv.org/abs/1708.01009>`_, 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> hidden = jnp.arange(4.0)[None, :, None]  # 0, 1, 2, 3
      >>> float(penalties.temporal(hidden, alpha=2.0, beta=1.0))
      8.0
    """
    of_size = as_strength(alpha, name="alpha")
    of_change = as_strength(beta, name="beta")
    hidden = check_inexact(hidden, name="hidden")
    dropped = hidden if dropped is None else check_inexact(dropped, name="dropped")
    time = check_axis(time_axis, hidden.ndim, name="time_axis")
    if time == hidden.ndim - 1:
        raise ValueError(
            "time_axis must not be the last axis, which holds features, got "
            f"{time_axis} for hidden of shape {hidden.shape}."
        )
    if mask is None:
        real = jnp.ones(hidden.shape[:-1], bool)
    else:
        real = jnp.asarray(as_real(mask, name="mask"))
    if dropped.shape != hidden.shape or real.shape != hidden.shape[:-1]:
        raise ValueError(
            f"shapes of hidden {hidden.shape}, dropped {dropped.shape} and mask "
            f"{real.shape} do not agree; the mask must not have the last axis."
        )
    real = real.astype(bool)[..., None]
    size = _mean_square(dropped, real)
    wide = jnp.where(real, widened(hidden), 0)
    change = _mean_square(
        _after(wide, time) - _before(wide, time),
        _after(real, time) & _before(real, time),
    )
    return scaled_sum([size], of_size) + scaled_sum([change], of_change)


def _before(x: Array, time: int) -> Array:
    """All steps but the last."""
    return lax.slice_in_dim(x, 0, max(x.shape[time] - 1, 0), axis=time)


def _after(x: Array, time: int) -> Array:
    """All steps but the first."""
    return lax.slice_in_dim(x, min(x.shape[time], 1), None, axis=time)


def _mean_square(x: Array, real: Array) -> Array:
    """The mean of the squares of entries that are not padding; 0 if there are none."""
    squares = jnp.where(real, squared(jnp.where(real, x, 0)), 0)
    count = _count(real, x.shape[-1], squares.dtype)
    return jnp.sum(squares) / jnp.maximum(count, 1)


def _count(real: Array, num_features: int, dtype: jnp.dtype) -> Array:
    """The number of entries that are not padding, as a float: int32 may overflow."""
    rows = jnp.sum(real, axis=(-2, -1), dtype=jnp.int32)
    return jnp.sum(rows.astype(dtype)) * as_float(num_features)


def _num_examples(leaf: Array, batch_axis: int | None) -> int:
    if batch_axis is None:
        return 1
    return max(leaf.shape[check_axis(batch_axis, leaf.ndim, name="batch_axis")], 1)
