"""The dropout family as NNX modules: one short class per technique."""

from collections.abc import Sequence
from typing import Unpack

from jaxdrop._checks import as_axes, as_static
from jaxdrop._dropout.alpha_dropout import alpha_dropout
from jaxdrop._dropout.drop_block import drop_block
from jaxdrop._dropout.dropout import dropout
from jaxdrop._dropout.feature_alpha_dropout import feature_alpha_dropout
from jaxdrop._dropout.gaussian_dropout import gaussian_dropout
from jaxdrop._dropout.locked_dropout import locked_dropout
from jaxdrop._dropout.shake_drop import shake_drop
from jaxdrop._dropout.spatial_dropout import spatial_dropout
from jaxdrop._dropout.stochastic_depth import stochastic_depth
from jaxdrop._typing import Array, Key
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._module import DropoutModule, Mode, Rate


class Dropout(DropoutModule):
    """:func:`jaxdrop.dropout` as a module, in the place of ``flax.nnx.Dropout``.

    It takes the same arguments and draws the same masks; and besides a rate that is an
    array, traced, or a :class:`Rate`, a traced ``deterministic``, and a rate at call
    time.

    Args:
      rate: the probability of dropping an entry.
      broadcast_dims: axes along which one draw is shared.
      **mode: ``deterministic``, ``rng_collection`` and ``rngs``, as for every module;
        see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
      >>> x = jnp.ones((4, 8))
      >>> sorted(set(drop(x).ravel().tolist()))
      [0.0, 2.0]
      >>> drop.eval()
      >>> drop(x) is x
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        broadcast_dims: Sequence[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.broadcast_dims = as_axes(as_static(broadcast_dims))

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=self.broadcast_dims,
            deterministic=deterministic,
        )


class GaussianDropout(DropoutModule):
    """:func:`jaxdrop.gaussian_dropout` as a module.

    Args:
      rate: the drop probability of the dropout with equal variance, below 1.
      broadcast_dims: axes along which one draw is shared.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.GaussianDropout(0.2, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.ones((100, 100)))
      >>> bool(abs(y.mean() - 1) < 0.05)
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        broadcast_dims: Sequence[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.broadcast_dims = as_axes(as_static(broadcast_dims))

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return gaussian_dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=self.broadcast_dims,
            deterministic=deterministic,
        )


class AlphaDropout(DropoutModule):
    """:func:`jaxdrop.alpha_dropout` as a module.

    Args:
      rate: the probability of dropping an entry.
      broadcast_dims: axes along which one draw is shared.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.AlphaDropout(0.1, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.zeros((100, 100)))
      >>> bool(abs(y.mean()) < 0.1)
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        broadcast_dims: Sequence[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.broadcast_dims = as_axes(as_static(broadcast_dims))

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return alpha_dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=self.broadcast_dims,
            deterministic=deterministic,
        )


class FeatureAlphaDropout(DropoutModule):
    """:func:`jaxdrop.feature_alpha_dropout` as a module.

    Args:
      rate: the probability that a channel of an example is dropped.
      num_spatial_dims: how many axes one draw spans: 1, 2 or 3; by
        default 2, for inputs with four axes.
      channel_axis: the axis of the channels.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.FeatureAlphaDropout(0.2, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.ones((8, 14, 14, 32)))
      >>> bool((y == y[:, :1, :1]).all())  # a channel is kept or dropped as a whole
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        num_spatial_dims: int | None = None,
        channel_axis: int = -1,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.num_spatial_dims = num_spatial_dims
        self.channel_axis = channel_axis

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
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
    """:func:`jaxdrop.spatial_dropout` as a module.

    Args:
      rate: the probability that a channel of an example is dropped.
      num_spatial_dims: how many axes one draw spans: 1, 2 or 3; by
        default 2, for inputs with four axes.
      channel_axis: the axis of the channels.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.SpatialDropout(0.2, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.ones((8, 14, 14, 32)))
      >>> bool((y == y[:, :1, :1]).all())  # a channel is kept or dropped as a whole
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        num_spatial_dims: int | None = None,
        channel_axis: int = -1,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.num_spatial_dims = num_spatial_dims
        self.channel_axis = channel_axis

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
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
    """:func:`jaxdrop.drop_block` as a module.

    Args:
      rate: the probability of dropping an entry.
      block_size: the sides of a block: one number, or one for each spatial axis.
      num_spatial_dims: how many axes a block spans: 1, 2 or 3; by
        default 2, for inputs with four axes.
      channel_axis: the axis of the channels.
      shared_channels: drop the same blocks in all channels of an example.
      seeds: ``"padded"``, exact everywhere; or ``"valid"``, the paper's.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.DropBlock(0.1, block_size=5, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.ones((8, 14, 14, 32)))
      >>> bool((y == 0).any())
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        block_size: int | Sequence[int] = 7,
        num_spatial_dims: int | None = None,
        channel_axis: int = -1,
        shared_channels: bool = False,
        seeds: str = "padded",
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.block_size = as_static(block_size)
        self.num_spatial_dims = num_spatial_dims
        self.channel_axis = channel_axis
        self.shared_channels = shared_channels
        self.seeds = seeds

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
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


class StochasticDepth(DropoutModule):
    """:func:`jaxdrop.stochastic_depth` as a module: ``x + drop(branch(x))``.

    Args:
      rate: the probability of dropping a branch.
      batch_axis: the axis of the examples, or ``None`` for one decision for all.
      scale: divide surviving branches by ``1 - rate``.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.StochasticDepth(0.5, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.ones((16, 8)))
      >>> bool((y == y[:, :1]).all())  # one decision per example
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        batch_axis: int | None = 0,
        scale: bool = True,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.batch_axis = batch_axis
        self.scale = scale

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return stochastic_depth(
            key,
            x,
            rate=rate,
            batch_axis=self.batch_axis,
            scale=self.scale,
            deterministic=deterministic,
        )


class LockedDropout(DropoutModule):
    """:func:`jaxdrop.locked_dropout` as a module.

    Args:
      rate: the probability of dropping a feature of a sequence.
      time_axis: the axis along which the mask is constant.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.LockedDropout(0.3, rngs=nnx.Rngs(0))
      >>> y = drop(jnp.ones((4, 10, 8)))
      >>> bool((y == y[:, :1]).all())  # one mask for all time steps
      True
    """

    def __init__(
        self, rate: RateLike | Rate, *, time_axis: int = -2, **mode: Unpack[Mode]
    ) -> None:
        super().__init__(rate, **mode)
        self.time_axis = time_axis

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return locked_dropout(
            key, x, rate=rate, time_axis=self.time_axis, deterministic=deterministic
        )


class ShakeDrop(DropoutModule):
    """:func:`jaxdrop.shake_drop` as a module, at the end of a residual branch.

    In evaluation it is the expectation, ``(1 - rate) * x``.

    Args:
      rate: the probability of shaking a branch.
      batch_axis: the axis of the examples, or ``None`` for one decision for all.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> shake = jaxdrop.nnx.ShakeDrop(0.5, rngs=nnx.Rngs(0))
      >>> shake.eval()
      >>> x = jnp.ones((4, 8))
      >>> bool((shake(x) == 0.5 * x).all())
      True
    """

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        batch_axis: int | None = 0,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.batch_axis = batch_axis

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return shake_drop(
            key, x, rate=rate, batch_axis=self.batch_axis, deterministic=deterministic
        )
