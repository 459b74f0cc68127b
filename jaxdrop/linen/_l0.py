"""A dense layer that closes inputs for good, as a Linen module."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._dropout._dropped_layer import add_bias
from jaxdrop._dropout.concrete_dropout import initial_logit
from jaxdrop._dropout.hard_concrete import apply_gates, hard_concrete
from jaxdrop._dropout.hard_concrete_penalty import hard_concrete_penalty
from jaxdrop._typing import Array, Flag, Key
from jaxdrop.linen._linear import NoisyDense
from jaxdrop.linen._module import StochasticModule
from jaxdrop.linen._penalties import sow_penalty


class L0Dense(NoisyDense, StochasticModule):
    """A dense layer with a gate before each input, which learns to close.

    :func:`jaxdrop.hard_concrete` gates on the inputs, with parameters named and
    initialized as those of ``flax.linen.Dense``, and ``log_alpha``. Each call sows how
    many weights are expected to be used into the collection ``"penalties"``: apply the
    model with ``mutable="penalties"`` and add the sum of its leaves, times the cost of
    a weight, to the loss.

    Attributes:
      features: the number of output features.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the product, see ``jax.lax.Precision``.
      kernel_init: the initializer of the kernel.
      bias_init: the initializer of the bias.
      init_rate: how closed gates are at the start, between 0 and 1: ``log_alpha``
        starts around ``log((1 - init_rate) / init_rate)``.
      per_example: draw gates for each example, instead of once for the batch.

    References:
      Louizos, Welling, Kingma, `Learning sparse neural networks through L0
      regularization <https://arxiv.org/abs/1712.01312>`_, ICLR 2018.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> layer = jaxdrop.linen.L0Dense(4)
      >>> x = jnp.ones((2, 8))
      >>> variables = layer.init(jax.random.key(0), x, deterministic=True)
      >>> y, sown = layer.apply(
      ...     variables, x, False, jax.random.key(1), mutable="penalties"
      ... )
      >>> y.shape, bool(0 < sum(jax.tree.leaves(sown["penalties"])) < 8 * 4)
      ((2, 4), True)
    """

    _technique = "hard_concrete"

    features: int
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()
    init_rate: float = 0.5
    per_example: bool = False

    @nn.compact
    def __call__(
        self, inputs: Array, deterministic: Flag | None = None, rng: Key | None = None
    ) -> Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, in_features)``.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.

        Returns:
          Outputs, ``(*batch, features)``.
        """
        kernel, bias = self._parameters(inputs.shape[-1])
        log_alpha = self.param(
            "log_alpha", self._start, inputs.shape[-1:], self.param_dtype
        )
        flag = self._mode(deterministic)
        key = None if flag is True else self._draw_key(rng)
        if self.per_example and key is not None:
            log_alpha = jnp.broadcast_to(log_alpha, inputs.shape)
        gates = hard_concrete(key, log_alpha, deterministic=flag)
        sow_penalty(self, self.penalty)
        return add_bias(self._product(apply_gates(inputs, gates), kernel), bias)

    def penalty(self) -> Array:
        """How many weights are expected to be used."""
        return hard_concrete_penalty(self._log_alpha()) * self.features

    def sparsity(self) -> Array:
        """The share of inputs that are closed in evaluation."""
        gates = hard_concrete(None, self._log_alpha(), deterministic=True)
        return (gates == 0).mean(dtype=jnp.float32)

    @nn.nowrap
    def _log_alpha(self) -> Array:
        log_alpha: Array = self.get_variable("params", "log_alpha")
        return log_alpha

    @nn.nowrap
    def _start(self, key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
        center = -initial_logit(self.init_rate)
        return center + 0.01 * jax.random.normal(key, shape, dtype)
