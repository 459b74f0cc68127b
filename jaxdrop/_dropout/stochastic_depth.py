"""Stochastic depth: dropping whole residual branches (Huang et al., 2016)."""

from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import (
    check_axis,
    check_inexact,
    check_rate,
    check_switch,
    is_identity,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Rate


@named
def stochastic_depth(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    batch_axis: int | None = 0,
    scale: bool = True,
    deterministic: Flag = False,
) -> Array:
    """Drops the residual branch of random examples, so that depth varies in training.

    Also called drop path. The paper draws one decision for the whole batch and scales
    in evaluation instead of in training. Here, as in later practice, there is a
    decision for each example, and the branch is scaled in training, so that evaluation
    is the plain network.

    Usage:
      At the end of a residual branch, just before it is added: ``x +
      stochastic_depth(key, branch(x), rate=rate)``. Rates usually grow linearly with
      depth, from 0 up to 0.1 for small and 0.5 for large networks.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: the output of a residual branch, floating point or complex.
      rate: the probability of dropping a branch, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      batch_axis: the axis of the examples, or ``None`` for one decision for the whole
        array: as in the paper, or for use under ``jax.vmap``. Static.
      scale: divide surviving branches by ``1 - rate``. With False, the mean of the
        branch in training is ``1 - rate`` times that in evaluation. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` or ``batch_axis`` is out of range, or a key is missing.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Huang, Sun, Liu, Sedra, Weinberger, `Deep networks with stochastic depth
      <https://arxiv.org/abs/1603.09382>`_, ECCV 2016.
      Larsson, Maire, Shakhnarovich, `FractalNet <https://arxiv.org/abs/1605.07648>`_,
      ICLR 2017, for the name drop path.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> branch = jnp.ones((8, 14, 14, 32))
      >>> y = jaxdrop.stochastic_depth(jax.random.key(0), branch, rate=0.5)
      >>> bool((y == y[:, :1, :1, :1]).all())  # examples as a whole
      True
    """
    check_rate(rate)
    scale = check_switch(scale, name="scale")
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    batch = (
        ()
        if batch_axis is None
        else (check_axis(batch_axis, x.ndim, name="batch_axis"),)
    )
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    return _stochastic_depth(key, x, keep, batch=batch, scale=scale)


@site(
    "jaxdrop.stochastic_depth",
    draws="mask",
    acts_on="branches",
    static=("batch", "scale"),
)
def _stochastic_depth(
    key: Key, x: Array, keep: Any, *, batch: Axes, scale: bool
) -> Array:
    rest = tuple(axis for axis in range(x.ndim) if axis not in batch)
    sharding = _masks.sharding_of(x)
    mask = _masks.draw(
        key, x.shape, keep=keep, broadcast_dims=rest, out_sharding=sharding
    )
    return _masks.apply(x, mask, keep=keep, scale=scale)
