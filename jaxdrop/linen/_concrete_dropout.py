"""A learned dropout rate around a layer, as a Linen module."""

from collections.abc import Callable, Iterable

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._checks import as_axes
from jaxdrop._dropout.concrete_dropout import concrete_dropout, initial_logit
from jaxdrop._dropout.concrete_penalty import concrete_penalty
from jaxdrop._typing import Array, Flag, Key, Scalar
from jaxdrop.linen._module import StochasticModule
from jaxdrop.linen._penalties import sow_penalty


class ConcreteDropout(StochasticModule):
    """A layer with :func:`jaxdrop.concrete_dropout` of its input, at a learned rate.

    Each call sows its penalty into the collection ``"penalties"``: apply the model with
    ``mutable="penalties"`` and add the sum of its leaves to the loss. Without it the
    rate tends to 0.

    Attributes:
      layer: a module with a kernel, such as ``nn.Dense`` or ``nn.Conv``.
      weight_regularizer: as for :func:`jaxdrop.concrete_penalty`.
      dropout_regularizer: as for :func:`jaxdrop.concrete_penalty`.
      num_inputs: as for :func:`jaxdrop.concrete_penalty`.
      init_rate: the rate to start from, between 0 and 1.
      temperature: of the relaxation; 0.1, or 2/3 where channels are dropped.
      broadcast_dims: axes along which one draw is shared; ``(1, 2)`` drops channels of
        images.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> layer = jaxdrop.linen.ConcreteDropout(
      ...     nn.Dense(4), weight_regularizer=1e-6, dropout_regularizer=1e-3
      ... )
      >>> x = jnp.ones((2, 8))
      >>> variables = layer.init(jax.random.key(0), x, deterministic=True)
      >>> y, sown = layer.apply(
      ...     variables, x, False, jax.random.key(1), mutable="penalties"
      ... )
      >>> penalty = sum(jax.tree.leaves(sown["penalties"]))
      >>> y.shape, penalty.shape
      ((2, 4), ())
    """

    layer: Callable[[Array], Array]
    weight_regularizer: Scalar
    dropout_regularizer: Scalar
    num_inputs: int | None = None
    init_rate: float = 0.1
    temperature: Scalar = 0.1
    broadcast_dims: int | Iterable[int] = ()

    def setup(self) -> None:
        logit = initial_logit(self.init_rate)
        self.logit_rate = self.param("logit_rate", lambda _: jnp.float32(logit))

    def __call__(
        self, inputs: Array, deterministic: Flag | None = None, rng: Key | None = None
    ) -> Array:
        """Applies dropout and the layer.

        Args:
          inputs: those of the layer.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.

        Returns:
          The output of the layer.
        """
        flag = self._mode(deterministic)
        dropped = concrete_dropout(
            None if flag is True else self._draw_key(rng),
            inputs,
            self.logit_rate,
            temperature=self.temperature,
            broadcast_dims=as_axes(self.broadcast_dims),
            deterministic=flag,
        )
        y = self.layer(dropped)
        sow_penalty(self, self.penalty)
        return y

    def penalty(self) -> Array:
        """The penalty to add to the loss, :func:`jaxdrop.concrete_penalty`."""
        if not isinstance(self.layer, nn.Module):
            raise TypeError(
                "layer must be a module with a kernel, such as nn.Dense, to have a "
                f"penalty; got {type(self.layer).__name__}."
            )
        return concrete_penalty(
            self.logit_rate,
            self.layer.variables["params"],
            weight_regularizer=self.weight_regularizer,
            dropout_regularizer=self.dropout_regularizer,
            num_inputs=self.num_inputs,
        )
