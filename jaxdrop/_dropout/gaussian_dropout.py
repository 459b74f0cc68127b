"""Gaussian dropout: multiplying by random factors (Srivastava et al., 2014)."""

from typing import Any

import jax
import numpy as np

from jaxdrop import _masks, prng
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
def gaussian_dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    broadcast_dims: Axes = (),
    deterministic: Flag = False,
) -> Array:
    """Multiplies by N(1, rate / (1 - rate)), the mean and variance of dropout.

    No entry is set to 0, so that gradients reach every unit in every step. The noise is
    drawn in float32 for every dtype of ``x``.

    Usage:
      In place of :func:`jaxdrop.dropout`, after the same layers and at the same rates,
      such as 0.5 after the activation of a dense layer.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: the data, floating point or complex, of any shape.
      rate: the drop probability of the dropout with equal variance: a number below 1,
        or an array that broadcasts against ``x``. A traced rate does not recompile when
        it changes; at 1, where the variance is infinite, or outside [0, 1] it gives
        NaN.
      broadcast_dims: axes along which one draw is shared. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` is 1 or out of range, ``broadcast_dims`` are out of range,
        or a key is missing.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, `Dropout: a simple way
      to prevent neural networks from overfitting
      <https://jmlr.org/papers/v15/srivastava14a.html>`_, JMLR 2014, section 10.
      Kingma, Salimans, Welling, `Variational dropout and the local reparameterization
      trick <https://arxiv.org/abs/1506.02557>`_, NeurIPS 2015.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((64, 64))
      >>> y = jaxdrop.gaussian_dropout(jax.random.key(0), x, rate=0.5)
      >>> bool(abs(y.mean() - 1) < 0.1), bool(abs(y.std() - 1) < 0.1)
      (True, True)
    """
    check_rate(rate, scalar=False)
    if not isinstance(rate, jax.Array) and np.any(np.asarray(rate) == 1):
        raise ValueError(
            "rate must be below 1, where the variance rate / (1 - rate) is infinite, "
            f"got {rate}."
        )
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    key = require_key(key)
    keep = _masks.survival(rate, deterministic=deterministic)
    keep = _masks.align(keep, x.shape)
    shared = check_axes(broadcast_dims, x.ndim, name="broadcast_dims")
    return _gaussian_dropout(key, x, keep, broadcast_dims=shared)


@site(
    "jaxdrop.gaussian_dropout",
    draws="noise",
    acts_on="entries",
    adds_variance=True,
    breaks_selu=True,
    static=("broadcast_dims",),
)
def _gaussian_dropout(key: Key, x: Array, keep: Any, *, broadcast_dims: Axes) -> Array:
    shape, sharding = _masks.drawn_shape(
        x.shape, broadcast_dims, out_sharding=_masks.sharding_of(x)
    )
    noise = prng.normal(key, shape, out_sharding=sharding)
    return _masks.apply_gaussian(x, noise, keep=keep)
