"""Spatial dropout: dropping whole feature maps (Tompson et al., 2015)."""

from typing import Any

from jaxdrop import _masks
from jaxdrop._checks import check_inexact, check_rate, is_identity, require_key
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Rate


@named
def spatial_dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    num_spatial_dims: int | None = None,
    channel_axis: int = -1,
    deterministic: Flag = False,
) -> Array:
    """Drops whole channels, so that neighbouring pixels cannot replace each other.

    Neighbours in a feature map carry nearly the same information, so that dropping
    single entries removes little of it. The spatial axes are given by
    ``num_spatial_dims`` and never guessed from the rank.

    Usage:
      After a convolution and its activation, at a rate of 0.1 to 0.3.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: feature maps, floating point or complex, ``(*batch, *spatial, channels)``.
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
      Tompson, Goroshin, Jain, LeCun, Bregler, `Efficient object localization using
      convolutional networks <https://arxiv.org/abs/1411.4280>`_, CVPR 2015.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((8, 14, 14, 32))
      >>> y = jaxdrop.spatial_dropout(jax.random.key(0), x, rate=0.5)
      >>> bool((y == y[:, :1, :1]).all())  # a channel is kept or dropped as a whole
      True
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
    return _spatial_dropout(key, x, keep, spatial=spatial)


@site(
    "jaxdrop.spatial_dropout",
    draws="mask",
    acts_on="regions",
    adds_variance=True,
    breaks_selu=True,
    static=("spatial",),
)
def _spatial_dropout(key: Key, x: Array, keep: Any, *, spatial: Axes) -> Array:
    sharding = _masks.sharding_of(x)
    mask = _masks.draw(
        key, x.shape, keep=keep, broadcast_dims=spatial, out_sharding=sharding
    )
    return _masks.apply(x, mask, keep=keep)
