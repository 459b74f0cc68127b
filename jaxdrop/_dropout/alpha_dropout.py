"""Alpha dropout: dropout for self-normalizing networks (Klambauer et al., 2017)."""

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
def alpha_dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    broadcast_dims: Axes = (),
    deterministic: Flag = False,
) -> Array:
    """Sets random entries to SELU's saturation, and keeps mean 0 and variance 1.

    Ordinary dropout after SELU destroys the normalization that SELU networks rely on.
    Here dropped entries become ``-scale * alpha``, about -1.758, and an affine map
    restores mean and variance. The affine map is computed in float32 or wider.

    Usage:
      After each SELU, at a rate of 0.05 to 0.1.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: activations of zero mean and unit variance, floating point, of any shape.
      rate: the probability of dropping an entry: a number, or an array that broadcasts
        against ``x``. A traced rate does not recompile when it changes; outside [0, 1]
        it gives NaN. At 1 the output is 0, the limit of the formula.
      broadcast_dims: axes along which one draw is shared. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` or ``broadcast_dims`` are out of range, or a key is
        missing.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Klambauer, Unterthiner, Mayr, Hochreiter, `Self-normalizing neural networks
      <https://arxiv.org/abs/1706.02515>`_, NeurIPS 2017.

    Examples:
      >>> import jax, jaxdrop
      >>> x = jax.random.normal(jax.random.key(1), (256, 256))
      >>> y = jaxdrop.alpha_dropout(jax.random.key(0), x, rate=0.1)
      >>> bool(abs(y.mean()) < 0.03), bool(abs(y.var() - 1) < 0.03)
      (True, True)
    """
    check_rate(rate, scalar=False)
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    keep = _masks.align(keep, x.shape)
    shared = check_axes(broadcast_dims, x.ndim, name="broadcast_dims")
    return _alpha_dropout(key, x, keep, broadcast_dims=shared)


@site(
    "jaxdrop.alpha_dropout",
    draws="mask",
    acts_on="entries",
    adds_variance=True,
    static=("broadcast_dims",),
)
def _alpha_dropout(key: Key, x: Array, keep: Any, *, broadcast_dims: Axes) -> Array:
    sharding = _masks.sharding_of(x)
    mask = _masks.draw(
        key, x.shape, keep=keep, broadcast_dims=broadcast_dims, out_sharding=sharding
    )
    return _masks.apply_alpha(x, mask, keep=keep)
