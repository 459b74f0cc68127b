"""Layers whose weights are dropped, as NNX modules."""

from collections.abc import Callable
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout._dropped_layer import check_evaluation, dropped_layer
from jaxdrop._typing import Array, Flag
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._linear import NoisyLinear
from jaxdrop.nnx._module import KeySource, Mode, Rate
from jaxdrop.nnx._rate import hold_rate


class DropConnectLinear(NoisyLinear):
    """A dense layer whose weights are dropped, :func:`jaxdrop.drop_connect`.

    The bias is never dropped. Parameters have the names, shapes and initialization of
    ``flax.nnx.Linear``, and evaluation is that layer; or, more exactly where a
    nonlinear activation follows, its mean over masks by matching moments.

    Args:
      in_features: the number of input features.
      out_features: the number of output features.
      rate: the probability of dropping a weight.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the product, see ``jax.lax.Precision``.
      kernel_init: the initializer of the kernel.
      bias_init: the initializer of the bias.
      activation: an elementwise function that is applied to the output.
      per_example: draw a mask for each example, on the first axis, instead of one for
        the batch. It takes the memory of a kernel for each example.
      evaluation: ``"mean"``, the layer with its mean weights, or ``"moments"``, the
        mean of ``activation`` over masks, in the normal approximation.
      **mode: see :class:`StochasticModule`; ``rngs`` is required for initialization.

    References:
      Wan, Zeiler, Zhang, LeCun, Fergus, `Regularization of neural networks using
      DropConnect <https://proceedings.mlr.press/v28/wan13.html>`_, ICML 2013.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> layer = jaxdrop.nnx.DropConnectLinear(8, 4, 0.5, rngs=nnx.Rngs(0))
      >>> x = jnp.ones((2, 8))
      >>> bool((layer(x) == layer(x)).all())  # a new mask each call
      False
      >>> layer.eval()
      >>> bool((layer(x) == layer(x)).all())
      True
    """

    _technique = "drop_connect"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rate: RateLike | Rate,
        *,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = nnx.initializers.lecun_normal(),
        bias_init: Any = nnx.initializers.zeros_init(),
        activation: Callable[[Array], Array] | None = None,
        per_example: bool = False,
        evaluation: str = "mean",
        **mode: Unpack[Mode],
    ) -> None:
        rate = hold_rate(rate)
        check_evaluation(evaluation, activation)
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
        self.rate = rate
        self.activation = activation
        self.per_example = per_example
        self.evaluation = evaluation

    def __call__(
        self,
        inputs: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Applies the layer; arguments override the attributes of their names.

        Args:
          inputs: ``(*batch, in_features)``.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call; may be traced.

        Returns:
          Outputs, ``(*batch, out_features)``.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self._settle(deterministic, rngs, chosen)
        return dropped_layer(
            key,
            inputs,
            self.kernel[...],
            rate=chosen,
            deterministic=flag,
            product=self._product,
            finish=self._finish,
            per_example=self.per_example,
            evaluation=self.evaluation,
        )

    def _finish(self, y: Array) -> Array:
        y = self._add_bias(y)
        return y if self.activation is None else self.activation(y)
