"""DropBlock: dropping contiguous blocks of a feature map (Ghiasi et al., 2018)."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import check_inexact, check_rate, is_identity, require_key
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def drop_block(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    block_size: int | Sequence[int] = 7,
    num_spatial_dims: int | None = None,
    channel_axis: int = -1,
    shared_channels: bool = False,
    seeds: str = "padded",
    deterministic: Flag = False,
) -> Array:
    """Drops blocks of a feature map, so that neighbours cannot replace them.

    Neighbouring activations of a convolution carry nearly the same information, so that
    dropping single entries removes little of it.

    Every entry is dropped with probability ``rate``, also at the border, for any
    block size: blocks may start outside the map, each position with probability
    ``1 - (1 - rate) ** (1 / volume)``, and kept entries are divided by
    ``1 - rate``. In the paper (``seeds="valid"``) blocks start only where they fit,
    with a probability that makes the mean rate too low and the rate at the border much
    lower, and kept entries are divided by the share of entries that was kept; here by
    that of their own example, so that examples never influence each other.

    Usage:
      After the later convolutions of a network, and on its skip connections. Blocks of
      7 with a rate that grows from 0 to 0.1 over training, as in the paper; a traced
      rate can follow a schedule.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      x: feature maps, floating point or complex, ``(*batch, *spatial, channels)``.
      rate: the probability of dropping an entry, a scalar. A traced rate does not
        recompile when it changes; outside [0, 1] it gives NaN.
      block_size: the sides of a block: one number, or one for each spatial axis. 1 is
        elementwise dropout. Static.
      num_spatial_dims: how many axes a block spans: 1, 2 or 3. They are the last ones
        other than ``channel_axis``; the axes before them are batch axes. By default 2,
        for ``x`` with four axes; with any other rank it must be given. Static.
      channel_axis: the axis of the channels: -1 for ``(batch, height, width,
        channels)``. For ``(batch, channels, height, width)``, as in PyTorch, it must be
        1: with -1 columns of pixels would be dropped. Static.
      shared_channels: drop the same blocks in all channels of an example. Static.
      seeds: ``"padded"``, where the rate is exact everywhere; or ``"valid"``, as in the
        paper, where blocks must fit into the map. Static.
      deterministic: return ``x`` untouched; may be traced.

    Returns:
      An array with the shape and dtype of ``x``.

    Raises:
      ValueError: if ``rate``, ``block_size`` or ``seeds`` are out of range, a key is
        missing, or ``x`` has too few axes.
      TypeError: if ``x`` is not floating point, or ``rate`` is not a number.

    References:
      Ghiasi, Lin, Le, `DropBlock: a regularization method for convolutional networks
      <https://arxiv.org/abs/1810.12890>`_, NeurIPS 2018.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((64, 14, 14, 8))
      >>> y = jaxdrop.drop_block(jax.random.key(0), x, rate=0.1, block_size=3)
      >>> corner, centre = (y[:, 0, 0] == 0).mean(), (y[:, 7, 7] == 0).mean()
      >>> bool(abs(corner - 0.1) < 0.05), bool(abs(centre - 0.1) < 0.05)
      (True, True)
    """
    check_rate(rate)
    if is_identity(rate, deterministic):
        return x
    x = check_inexact(x)
    layout = _masks.layout_blocks(
        x.shape,
        block_size=block_size,
        num_spatial_dims=num_spatial_dims,
        channel_axis=channel_axis,
        shared_channels=shared_channels,
        seeds=seeds,
    )
    key = require_key(key, rate=rate)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    keep_seed = _masks.seed_survival(keep, x.shape, layout)
    return _drop_block(key, x, keep, keep_seed, layout=layout)


@site(
    "jaxdrop.drop_block",
    draws="noise",
    acts_on="regions",
    breaks_selu=True,
    static=("layout",),
)
def _drop_block(
    key: Key, x: Array, keep: Any, keep_seed: _masks.Seeds, *, layout: _masks.Blocks
) -> Array:
    mask = _masks.draw_blocks(
        key, x.shape, layout, keep_seed=keep_seed, out_sharding=_masks.sharding_of(x)
    )
    if layout.seeds == "padded":
        return _masks.apply(x, mask, keep=keep)
    share = jnp.mean(
        mask, (*layout.spatial, layout.channel), jnp.float32, keepdims=True
    )
    return _masks.apply(x, mask, keep=jnp.where(jnp.isnan(keep), jnp.nan, share))
