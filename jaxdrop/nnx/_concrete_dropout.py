"""A learned dropout rate around a layer, as an NNX module."""

from collections.abc import Callable, Iterable
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx

from jaxdrop._checks import as_axes
from jaxdrop._dropout.concrete_dropout import concrete_dropout, initial_logit
from jaxdrop._dropout.concrete_penalty import concrete_penalty
from jaxdrop._typing import Array, Flag, Scalar
from jaxdrop.nnx._module import KeySource, Mode, StochasticModule, value_of


class ConcreteDropout(StochasticModule):
    """A layer with :func:`jaxdrop.concrete_dropout` of its input, at a learned rate.

    Add :meth:`penalty` to the loss: without it the rate tends to 0. For a whole model
    that is the sum over ``nnx.iter_modules(model)`` of the modules of this class.

    Args:
      layer: a module with a kernel, such as ``nnx.Linear`` or ``nnx.Conv``.
      weight_regularizer: as for :func:`jaxdrop.concrete_penalty`; in an
        ``nnx.Variable`` it may change without recompiling.
      dropout_regularizer: as ``weight_regularizer``.
      num_inputs: as for :func:`jaxdrop.concrete_penalty`.
      init_rate: the rate to start from, between 0 and 1.
      temperature: of the relaxation; 0.1, or 2/3 where channels are dropped.
      broadcast_dims: axes along which one draw is shared; ``(1, 2)`` drops channels of
        images.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> layer = jaxdrop.nnx.ConcreteDropout(
      ...     nnx.Linear(8, 4, rngs=rngs),
      ...     weight_regularizer=1e-6,
      ...     dropout_regularizer=1e-3,
      ...     rngs=rngs,
      ... )
      >>> layer(jnp.ones((2, 8))).shape, round(float(layer.rate), 3)
      ((2, 4), 0.1)
      >>> gradient = nnx.grad(lambda layer: layer.penalty())(layer)
      >>> bool(gradient["logit_rate"][...] < 0)  # descent raises the rate
      True
    """

    def __init__(
        self,
        layer: Callable[[Array], Array],
        *,
        weight_regularizer: Scalar | nnx.Variable[Any],
        dropout_regularizer: Scalar | nnx.Variable[Any],
        num_inputs: int | None = None,
        init_rate: float = 0.1,
        temperature: Scalar = 0.1,
        broadcast_dims: int | Iterable[int] = (),
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(**mode)
        self.layer = layer
        self.weight_regularizer = weight_regularizer
        self.dropout_regularizer = dropout_regularizer
        self.num_inputs = num_inputs
        self.temperature = temperature
        self.broadcast_dims = as_axes(broadcast_dims)
        logit = initial_logit(init_rate)
        self.logit_rate = nnx.Param(jnp.float32(logit))

    @property
    def rate(self) -> Array:
        """The learned rate, a float32 scalar."""
        return nnx.sigmoid(self.logit_rate[...])

    def __call__(
        self,
        inputs: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
    ) -> Array:
        """Applies dropout and the layer.

        Args:
          inputs: those of the layer.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.

        Returns:
          The output of the layer.
        """
        flag = self._mode(deterministic)
        dropped = concrete_dropout(
            None if flag is True else self._draw_key(rngs),
            inputs,
            self.logit_rate[...],
            temperature=value_of(self.temperature),
            broadcast_dims=self.broadcast_dims,
            deterministic=flag,
        )
        return self.layer(dropped)

    def penalty(self) -> Array:
        """The penalty to add to the loss, :func:`jaxdrop.concrete_penalty`."""
        if not isinstance(self.layer, nnx.Module):
            raise TypeError(
                "layer must be a module with a kernel, such as nnx.Linear, to have a "
                f"penalty; got {type(self.layer).__name__}."
            )
        params: Any = nnx.state(self.layer, nnx.Param)
        return concrete_penalty(
            self.logit_rate[...],
            params,
            weight_regularizer=value_of(self.weight_regularizer),
            dropout_regularizer=value_of(self.dropout_regularizer),
            num_inputs=self.num_inputs,
        )
