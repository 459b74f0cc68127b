"""Locked dropout: one mask for all time steps (Gal and Ghahramani, 2016)."""

from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import (
    check_axis,
    check_inexact,
    check_rate,
    is_identity,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def locked_dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    time_axis: int = -2,
    deterministic: Flag = False,
) -> Array:
    """Drops features of a sequence for all its time steps together.

    Also called variational dropout. With a fresh mask at every step a recurrent network
    can average the noise out over time, or loses its memory.

    Usage:
      On the input and the output of recurrent layers, and between them, at a rate of
      0.25 to 0.4. To drop inside the recurrence use a cell:
      ``jaxdrop.nnx.VariationalCell`` or ``jaxdrop.linen.VariationalCell``.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: sequences, floating point or complex, ``(*batch, time, features)``.
      rate: the probability of dropping a feature of a sequence, a scalar. A traced rate
        does not recompile when it changes; outside [0, 1] it gives NaN.
      time_axis: the axis along which the mask is constant. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` or ``time_axis`` is out of range, or a key is missing.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Gal, Ghahramani, `A theoretically grounded application of dropout in recurrent
      neural networks <https://arxiv.org/abs/1512.05287>`_, NeurIPS 2016.
      Merity, Keskar, Socher, `Regularizing and optimizing LSTM language models
      <https://arxiv.org/abs/1708.02182>`_, ICLR 2018, for the name.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((4, 20, 16))
      >>> y = jaxdrop.locked_dropout(jax.random.key(0), x, rate=0.5)
      >>> bool((y == y[:, :1]).all())  # the same features at every step
      True
    """
    check_rate(rate)
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    time = check_axis(time_axis, x.ndim, name="time_axis")
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    return _locked_dropout(key, x, keep, time=time)


@site(
    "jaxdrop.locked_dropout",
    draws="mask",
    acts_on="entries",
    adds_variance=True,
    breaks_selu=True,
    static=("time",),
)
def _locked_dropout(key: Key, x: Array, keep: Any, *, time: int) -> Array:
    sharding = _masks.sharding_of(x)
    mask = _masks.draw(
        key, x.shape, keep=keep, broadcast_dims=(time,), out_sharding=sharding
    )
    return _masks.apply(x, mask, keep=keep)
