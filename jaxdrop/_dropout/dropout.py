"""Dropout: zeroing random entries (Srivastava et al., 2014)."""

from collections.abc import Iterable
from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import (
    check_axes,
    check_inexact,
    check_rate,
    is_identity,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Rate


@named
def dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    broadcast_dims: int | Iterable[int] = (),
    deterministic: Flag = False,
) -> Array:
    """Zeroes random entries and rescales the rest, so that units cannot rely on others.

    For a threefry key, JAX's default, the mask equals that of ``flax.nnx.Dropout`` and
    ``flax.linen.Dropout`` bit for bit; with x64 on, Flax draws another one.

    Usage:
      After the activation of a dense layer, at a rate of 0.5 for wide layers, 0.2 for
      inputs and 0.1 in transformers. After a convolution drop channels or blocks
      instead (:func:`jaxdrop.spatial_dropout`, :func:`jaxdrop.drop_block`); after SELU
      use :func:`jaxdrop.alpha_dropout`. Do not put it before batch normalization, whose
      inputs would have another variance in training than in evaluation (`Li et al.,
      2019 <https://arxiv.org/abs/1801.05134>`_).

    Args:
      key: a PRNG key; may be ``None`` where nothing is left to chance: in evaluation,
        and at a rate of 0 or 1.
      x: the data, floating point or complex, of any shape; in evaluation and at a rate
        of 0 anything.
      rate: the probability of dropping an entry: a number, or an array that broadcasts
        against ``x``, for example ``(features,)`` or ``(batch, 1)``. A traced rate
        does not recompile when it changes; outside [0, 1] it gives NaN.
      broadcast_dims: axes along which one draw is shared. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` or ``broadcast_dims`` are out of range, or a key is
        missing.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, `Dropout: a simple way
      to prevent neural networks from overfitting
      <https://jmlr.org/papers/v15/srivastava14a.html>`_, JMLR 2014.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((4, 8))
      >>> y = jaxdrop.dropout(jax.random.key(0), x, rate=0.5)
      >>> sorted(set(y.ravel().tolist()))
      [0.0, 2.0]
      >>> jaxdrop.dropout(None, x, rate=0.5, deterministic=True) is x
      True
    """
    check_rate(rate, scalar=False)
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    keep = _masks.align(keep, x.shape)
    shared = check_axes(broadcast_dims, x.ndim, name="broadcast_dims")
    return _dropout(key, x, keep, broadcast_dims=shared)


@site(
    "jaxdrop.dropout",
    draws="mask",
    acts_on="entries",
    adds_variance=True,
    breaks_selu=True,
    static=("broadcast_dims",),
)
def _dropout(key: Key, x: Array, keep: Any, *, broadcast_dims: Axes) -> Array:
    sharding = _masks.sharding_of(x)
    mask = _masks.draw(
        key, x.shape, keep=keep, broadcast_dims=broadcast_dims, out_sharding=sharding
    )
    return _masks.apply(x, mask, keep=keep)
