"""Dropout of channels and blocks as Linen modules."""

from collections.abc import Sequence

from jaxdrop._dropout.drop_block import drop_block
from jaxdrop._dropout.feature_alpha_dropout import feature_alpha_dropout
from jaxdrop._dropout.spatial_dropout import spatial_dropout
from jaxdrop._typing import Array, Key, Rate
from jaxdrop.linen._module import DropoutModule

__all__ = [
    "DropBlock",
    "FeatureAlphaDropout",
    "SpatialDropout",
]


class FeatureAlphaDropout(DropoutModule):
    """:func:`jaxdrop.feature_alpha_dropout` as a module: whole channels, for SELU.

    Attributes:
      rate: the probability that a channel of an example is dropped.
      num_spatial_dims: how many axes one draw spans: 1, 2 or 3; by
        default 2, for inputs with four axes.
      channel_axis: the axis of the channels.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.FeatureAlphaDropout(0.2, deterministic=False)
      >>> x = jnp.ones((8, 14, 14, 32))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool((y == y[:, :1, :1]).all())  # a channel is kept or dropped as a whole
      True
    """

    num_spatial_dims: int | None = None
    channel_axis: int = -1

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return feature_alpha_dropout(
            key,
            x,
            rate=rate,
            num_spatial_dims=self.num_spatial_dims,
            channel_axis=self.channel_axis,
            deterministic=deterministic,
        )


class SpatialDropout(DropoutModule):
    """:func:`jaxdrop.spatial_dropout` as a module: whole channels.

    Attributes:
      rate: the probability that a channel of an example is dropped.
      num_spatial_dims: how many axes one draw spans: 1, 2 or 3; by
        default 2, for inputs with four axes.
      channel_axis: the axis of the channels.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.SpatialDropout(0.2, deterministic=False)
      >>> x = jnp.ones((8, 14, 14, 32))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool((y == y[:, :1, :1]).all())  # a channel is kept or dropped as a whole
      True
    """

    num_spatial_dims: int | None = None
    channel_axis: int = -1

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return spatial_dropout(
            key,
            x,
            rate=rate,
            num_spatial_dims=self.num_spatial_dims,
            channel_axis=self.channel_axis,
            deterministic=deterministic,
        )


class DropBlock(DropoutModule):
    """:func:`jaxdrop.drop_block` as a module: contiguous blocks.

    Attributes:
      rate: the probability of dropping an entry.
      block_size: the sides of a block: one number, or one for each spatial axis.
      num_spatial_dims: how many axes a block spans: 1, 2 or 3; by
        default 2, for inputs with four axes.
      channel_axis: the axis of the channels.
      shared_channels: drop the same blocks in all channels of an example.
      seeds: ``"padded"``, exact everywhere; or ``"valid"``, the paper's.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.DropBlock(0.1, block_size=5, deterministic=False)
      >>> x = jnp.ones((8, 14, 14, 32))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool((y == 0).any())
      True
    """

    block_size: int | Sequence[int] = 7
    num_spatial_dims: int | None = None
    channel_axis: int = -1
    shared_channels: bool = False
    seeds: str = "padded"

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return drop_block(
            key,
            x,
            rate=rate,
            block_size=self.block_size,
            num_spatial_dims=self.num_spatial_dims,
            channel_axis=self.channel_axis,
            shared_channels=self.shared_channels,
            seeds=self.seeds,
            deterministic=deterministic,
        )
