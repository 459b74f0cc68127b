"""A dense layer that closes inputs for good, as an NNX module."""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout.concrete_dropout import initial_logit
from jaxdrop._dropout.hard_concrete import apply_gates, hard_concrete
from jaxdrop._dropout.hard_concrete_penalty import hard_concrete_penalty
from jaxdrop._typing import Array, Flag
from jaxdrop.nnx._linear import NoisyLinear, require_rngs
from jaxdrop.nnx._module import KeySource, Mode


class L0Linear(NoisyLinear):
    """A dense layer with a gate before each input, which learns to close.

    :func:`jaxdrop.hard_concrete` gates on the inputs, with parameters named and
    initialized as those of ``flax.nnx.Linear``, and ``log_alpha``. Add
    :meth:`penalty`, times the cost of a weight, to the loss; for a whole model that is
    the sum over ``nnx.iter_modules(model)`` of the modules of this class.

    Args:
      in_features: the number of input features.
      out_features: the number of output features.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the product, see ``jax.lax.Precision``.
      kernel_init: the initializer of the kernel.
      bias_init: the initializer of the bias.
      init_rate: how closed gates are at the start, between 0 and 1: ``log_alpha``
        starts around ``log((1 - init_rate) / init_rate)``.
      per_example: draw gates for each example, instead of once for the batch.
      **mode: see :class:`StochasticModule`; ``rngs`` is required for initialization.

    References:
      Louizos, Welling, Kingma, `Learning sparse neural networks through L0
      regularization <https://arxiv.org/abs/1712.01312>`_, ICLR 2018.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> layer = jaxdrop.nnx.L0Linear(8, 4, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 8))).shape, float(layer.sparsity())
      ((2, 4), 0.0)
      >>> bool(0 < layer.penalty() < 8 * 4)  # weights that are expected to be used
      True
    """

    _technique = "hard_concrete"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = nnx.initializers.lecun_normal(),
        bias_init: Any = nnx.initializers.zeros_init(),
        init_rate: float = 0.5,
        per_example: bool = False,
        **mode: Unpack[Mode],
    ) -> None:
        center = -initial_logit(init_rate)
        super().__init__(
            in_features,
            out_features,
            {
                "use_bias": use_bias,
                "dtype": dtype,
                "param_dtype": param_dtype,
                "precision": precision,
                "kernel_init": kernel_init,
                "bias_init": bias_init,
            },
            **mode,
        )
        key = require_rngs(mode.get("rngs")).params()
        spread = 0.01 * jax.random.normal(key, (in_features,), param_dtype)
        self.log_alpha = nnx.Param(center + spread)
        self.per_example = per_example

    def __call__(
        self,
        inputs: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
    ) -> Array:
        """Applies the layer; arguments override the attributes of their names.

        Args:
          inputs: ``(*batch, in_features)``.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.

        Returns:
          Outputs, ``(*batch, out_features)``.
        """
        flag = self._mode(deterministic)
        key = None if flag is True else self._draw_key(rngs)
        log_alpha = self.log_alpha[...]
        if self.per_example and key is not None:
            log_alpha = jnp.broadcast_to(log_alpha, inputs.shape)
        gates = hard_concrete(key, log_alpha, deterministic=flag)
        return self._add_bias(
            self._product(apply_gates(inputs, gates), self.kernel[...])
        )

    def penalty(self) -> Array:
        """How many weights are expected to be used."""
        return hard_concrete_penalty(self.log_alpha[...]) * self.kernel[...].shape[-1]

    def sparsity(self) -> Array:
        """The share of inputs that are closed in evaluation."""
        gates = hard_concrete(None, self.log_alpha[...], deterministic=True)
        return (gates == 0).mean(dtype=jnp.float32)
