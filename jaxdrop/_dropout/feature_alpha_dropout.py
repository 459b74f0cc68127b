"""Feature alpha dropout: alpha dropout of whole channels (Klambauer et al., 2017)."""

from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import check_inexact, check_rate, is_identity, require_key
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Rate


@named
def feature_alpha_dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    num_spatial_dims: int | None = None,
    channel_axis: int = -1,
    deterministic: Flag = False,
) -> Array:
    """Sets whole channels to SELU's saturation, and keeps mean 0 and variance 1.

    The variant of :func:`jaxdrop.alpha_dropout` for whole channels, as
    :func:`jaxdrop.spatial_dropout` is the variant of :func:`jaxdrop.dropout`.

    Usage:
      After a convolution and its SELU, at a rate of 0.05 to 0.1.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: feature maps, floating point, ``(*batch, *spatial, channels)``.
      rate: the probability that a channel of an example is dropped, a scalar. A traced
        rate does not recompile when it changes; outside [0, 1] it gives NaN.
      num_spatial_dims: how many axes one draw spans: 1, 2 or 3. They are the last ones
        other than ``channel_axis``; the axes before them are batch axes. By default 2,
        for ``x`` with four axes; with any other rank it must be given. Static.
      channel_axis: the axis of the channels: -1 for ``(batch, height, width,
        channels)``. For ``(batch, channels, height, width)``, as in PyTorch, it must be
        1: with -1 columns of pixels would be dropped. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate`` is out of range, a key is missing, or ``x`` has too few
        axes.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Klambauer, Unterthiner, Mayr, Hochreiter, `Self-normalizing neural networks
      <https://arxiv.org/abs/1706.02515>`_, NeurIPS 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jax.random.normal(jax.random.key(1), (8, 14, 14, 32))
      >>> y = jaxdrop.feature_alpha_dropout(jax.random.key(0), x, rate=0.2)
      >>> saturated = (y == y[:, :1, :1]).all(axis=(1, 2))  # constant channels
      >>> saturated.shape, bool(saturated.any()), bool(saturated.all())
      ((8, 32), True, False)
    """
    check_rate(rate)
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    spatial = _masks.spatial_axes(
        x.shape,
        num_spatial_dims=num_spatial_dims,
        channel_axis=channel_axis,
    )
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    return _feature_alpha_dropout(key, x, keep, spatial=spatial)


@site(
    "jaxdrop.feature_alpha_dropout",
    draws="mask",
    acts_on="regions",
    static=("spatial",),
)
def _feature_alpha_dropout(key: Key, x: Array, keep: Any, *, spatial: Axes) -> Array:
    sharding = _masks.sharding_of(x)
    mask = _masks.draw(
        key, x.shape, keep=keep, broadcast_dims=spatial, out_sharding=sharding
    )
    return _masks.apply_alpha(x, mask, keep=keep)
