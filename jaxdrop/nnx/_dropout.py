"""The dropout family as NNX modules: one short class per technique."""

from collections.abc import Iterable
from typing import Unpack

from jaxdrop._checks import as_axes
from jaxdrop._dropout.alpha_dropout import alpha_dropout
from jaxdrop._dropout.dropout import dropout
from jaxdrop._dropout.gaussian_dropout import gaussian_dropout
from jaxdrop._dropout.locked_dropout import locked_dropout
from jaxdrop._dropout.shake_drop import shake_drop
from jaxdrop._dropout.stochastic_depth import stochastic_depth
from jaxdrop._typing import Array, Key
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._module import DropoutModule, Mode, Rate

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "LockedDropout",
    "ShakeDrop",
    "StochasticDepth",
]


class Dropout(DropoutModule):
    """:func:`jaxdrop.dropout` as a module: entries, in place of Flax's own.

    It takes the arguments of ``flax.nnx.Dropout`` and draws the same masks, with x64
    off. It also takes a rate that is an array, traced, or a :class:`Rate`, a traced
    ``deterministic``, and a rate at call time.

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
        broadcast_dims: int | Iterable[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.broadcast_dims = as_axes(broadcast_dims)

    def _regularize(
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
    """:func:`jaxdrop.gaussian_dropout` as a module: multiplies by Gaussian noise.

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
        broadcast_dims: int | Iterable[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.broadcast_dims = as_axes(broadcast_dims)

    def _regularize(
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
    """:func:`jaxdrop.alpha_dropout` as a module: for SELU, keeps mean and variance.

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
        broadcast_dims: int | Iterable[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.broadcast_dims = as_axes(broadcast_dims)

    def _regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return alpha_dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=self.broadcast_dims,
            deterministic=deterministic,
        )


class StochasticDepth(DropoutModule):
    """:func:`jaxdrop.stochastic_depth` as a module: residual branches (drop path).

    Used as ``x + drop(branch(x))``.

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

    def _regularize(
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
    """:func:`jaxdrop.locked_dropout` as a module: one mask for all time steps.

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

    def _regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return locked_dropout(
            key, x, rate=rate, time_axis=self.time_axis, deterministic=deterministic
        )


class ShakeDrop(DropoutModule):
    """:func:`jaxdrop.shake_drop` as a module: randomly scaled residual branches.

    Used at the end of a branch. In evaluation it is the expectation,
    ``(1 - rate) * x``.

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

    _draws_at_one = True  # the branch is shaken

    def __init__(
        self,
        rate: RateLike | Rate,
        *,
        batch_axis: int | None = 0,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.batch_axis = batch_axis

    def _regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        return shake_drop(
            key, x, rate=rate, batch_axis=self.batch_axis, deterministic=deterministic
        )
