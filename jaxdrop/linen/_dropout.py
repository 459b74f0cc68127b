"""The dropout family as Linen modules: one short class per technique."""

from collections.abc import Iterable

from jaxdrop._checks import as_axes
from jaxdrop._dropout.alpha_dropout import alpha_dropout
from jaxdrop._dropout.dropout import dropout
from jaxdrop._dropout.gaussian_dropout import gaussian_dropout
from jaxdrop._dropout.locked_dropout import locked_dropout
from jaxdrop._dropout.shake_drop import shake_drop
from jaxdrop._dropout.stochastic_depth import stochastic_depth
from jaxdrop._typing import Array, Key, Rate
from jaxdrop.linen._module import DropoutModule, Dropping

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "LockedDropout",
    "ShakeDrop",
    "StochasticDepth",
]


class Dropout(Dropping):
    """:func:`jaxdrop.dropout` as a module: entries, in place of Flax's own.

    It takes the arguments of ``flax.linen.Dropout`` and draws the same masks, with x64
    off. It also takes a rate that is an array or traced, a traced ``deterministic``,
    and a rate at call time.

    Attributes:
      rate: the probability of dropping an entry.
      broadcast_dims: axes along which one draw is shared.
      deterministic: the mode; to be given here or at call time, not both.
      rng_collection: where keys come from, as in ``rngs={"dropout": key}``.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.Dropout(0.5, deterministic=False)
      >>> y = drop.apply({}, jnp.ones((4, 8)), rngs={"dropout": jax.random.key(0)})
      >>> sorted(set(y.ravel().tolist()))
      [0.0, 2.0]
    """

    rate: Rate
    broadcast_dims: int | Iterable[int] = ()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=as_axes(self.broadcast_dims),
            deterministic=deterministic,
        )


class GaussianDropout(DropoutModule):
    """:func:`jaxdrop.gaussian_dropout` as a module: multiplies by Gaussian noise.

    Attributes:
      rate: the drop probability of the dropout with equal variance, below 1.
      broadcast_dims: axes along which one draw is shared.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.GaussianDropout(0.2, deterministic=False)
      >>> x = jnp.ones((100, 100))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool(abs(y.mean() - 1) < 0.05)
      True
    """

    broadcast_dims: int | Iterable[int] = ()

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return gaussian_dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=as_axes(self.broadcast_dims),
            deterministic=deterministic,
        )


class AlphaDropout(DropoutModule):
    """:func:`jaxdrop.alpha_dropout` as a module: for SELU, keeps mean and variance.

    Attributes:
      rate: the probability of dropping an entry.
      broadcast_dims: axes along which one draw is shared.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.AlphaDropout(0.1, deterministic=False)
      >>> x = jnp.zeros((100, 100))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool(abs(y.mean()) < 0.1)
      True
    """

    broadcast_dims: int | Iterable[int] = ()

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return alpha_dropout(
            key,
            x,
            rate=rate,
            broadcast_dims=as_axes(self.broadcast_dims),
            deterministic=deterministic,
        )


class StochasticDepth(DropoutModule):
    """:func:`jaxdrop.stochastic_depth` as a module: residual branches (drop path).

    Used as ``x + drop(branch(x))``.

    Attributes:
      rate: the probability of dropping a branch.
      batch_axis: the axis of the examples, or ``None`` for one decision for all.
      scale: divide surviving branches by ``1 - rate``.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.StochasticDepth(0.5, deterministic=False)
      >>> x = jnp.ones((16, 8))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool((y == y[:, :1]).all())  # one decision per example
      True
    """

    batch_axis: int | None = 0
    scale: bool = True

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
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

    Attributes:
      rate: the probability of dropping a feature of a sequence.
      time_axis: the axis along which the mask is constant.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.LockedDropout(0.3, deterministic=False)
      >>> x = jnp.ones((4, 10, 8))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool((y == y[:, :1]).all())  # one mask for all time steps
      True
    """

    time_axis: int = -2

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return locked_dropout(
            key, x, rate=rate, time_axis=self.time_axis, deterministic=deterministic
        )


class ShakeDrop(DropoutModule):
    """:func:`jaxdrop.shake_drop` as a module: randomly scaled residual branches.

    Used at the end of a branch. In evaluation it is the expectation,
    ``(1 - rate) * x``.

    Attributes:
      rate: the probability of shaking a branch.
      batch_axis: the axis of the examples, or ``None`` for one decision for all.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> shake = jaxdrop.linen.ShakeDrop(0.5, deterministic=True)
      >>> x = jnp.ones((4, 8))
      >>> bool((shake.apply({}, x) == 0.5 * x).all())
      True
    """

    batch_axis: int | None = 0

    _draws_at_one = True  # the branch is shaken

    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        return shake_drop(
            key, x, rate=rate, batch_axis=self.batch_axis, deterministic=deterministic
        )
