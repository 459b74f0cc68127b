"""Masksembles: a fixed set of masks as an ensemble (Durasov et al., 2021)."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop._checks import check_axis, check_inexact
from jaxdrop._errors import named
from jaxdrop._masks import apply
from jaxdrop._numbers import as_array
from jaxdrop._sites import site
from jaxdrop._typing import Array


@named
def masksembles(x: Array, masks: ArrayLike, /, *, axis: int = -1) -> Array:
    """Gives each part of the batch a mask of its own, in evaluation as in training.

    The batch, axis 0, is split into one part for each mask, in order: the first
    ``batch / num_masks`` examples get the first mask, and so on. In training each
    sub-network so learns from its own examples. To predict with all sub-networks,
    repeat the batch once for each mask, ``jnp.tile(x, (num_masks, 1))``, and average.
    Nothing is drawn and nothing is rescaled.

    Usage:
      After the activation of each layer, or of the last few. Masks come from
      :func:`jaxdrop.masks.masksembles`, usually 4 of them with a scale of 2.

    Args:
      x: activations, floating point or complex, ``(batch, …)``.
      masks: booleans ``(num_masks, features)``, ``True`` for features that are kept.
      axis: the axis of the features. Static.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if the number of masks does not divide the batch, or ``axis`` does not
        fit.
      TypeError: if ``x`` is not floating point, or ``masks`` are not boolean.

    References:
      Durasov, Bagautdinov, Baque, Fua, `Masksembles for uncertainty estimation
      <https://arxiv.org/abs/2012.08334>`_, CVPR 2021.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> masks = jaxdrop.masks.masksembles(0, 16, 4, 2.0)
      >>> x = jnp.ones((8, 16))  # two examples for each of four masks
      >>> y = jaxdrop.masksembles(x, masks)
      >>> bool((y[0] == y[1]).all()), bool((y[0] == y[2]).all())
      (True, False)
    """
    x = check_inexact(x)
    table = jnp.asarray(as_array(masks, name="masks"))
    if table.dtype != bool:
        raise TypeError(f"masks must be boolean, got {table.dtype}.")
    along = check_axis(axis, x.ndim, name="axis")
    if along == 0:
        raise ValueError(
            f"axis must be the axis of the features, got {axis}, that of the batch."
        )
    if table.ndim != 2 or table.shape[1] != x.shape[along]:
        raise ValueError(
            f"masks must have shape (num_masks, {x.shape[along]}), got {table.shape}."
        )
    if not table.shape[0]:
        raise ValueError(f"masks must hold at least one mask, got {table.shape}.")
    if x.shape[0] % table.shape[0]:
        raise ValueError(
            f"{table.shape[0]} masks do not divide a batch of {x.shape[0]}; leave out "
            "or pad the examples that remain."
        )
    return _masksembles(x, table, axis=along)


@site("jaxdrop.masksembles", draws="nothing", acts_on="entries", static=("axis",))
def _masksembles(x: Array, table: Array, *, axis: int) -> Array:
    rows = jnp.repeat(table, x.shape[0] // table.shape[0], axis=0)
    others = tuple(other for other in range(1, x.ndim) if other != axis)
    return apply(x, jnp.expand_dims(rows, others), keep=1)
