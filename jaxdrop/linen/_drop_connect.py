"""Layers whose weights are dropped, as Linen modules."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._checks import as_number, check_rate
from jaxdrop._dropout._dropped_layer import add_bias, check_evaluation, dropped_layer
from jaxdrop._typing import Array, Flag, Key, Rate
from jaxdrop.linen._linear import NoisyDense
from jaxdrop.linen._module import StochasticModule, tidy


class DropConnectDense(NoisyDense, StochasticModule):
    """A dense layer whose weights are dropped, :func:`jaxdrop.drop_connect`.

    The bias is never dropped. Parameters have the names, shapes and initialization of
    ``flax.linen.Dense``, and evaluation is that layer; or, more exactly where a
    nonlinear activation follows, its mean over masks by matching moments.

    Attributes:
      features: the number of output features.
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

    References:
      Wan, Zeiler, Zhang, LeCun, Fergus, `Regularization of neural networks using
      DropConnect <https://proceedings.mlr.press/v28/wan13.html>`_, ICML 2013.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> layer = jaxdrop.linen.DropConnectDense(4, 0.5)
      >>> x = jnp.ones((2, 8))
      >>> variables = layer.init(jax.random.key(0), x, deterministic=True)
      >>> jax.tree.map(jnp.shape, variables["params"])
      {'bias': (4,), 'kernel': (8, 4)}
      >>> layer.apply(variables, x, False, jax.random.key(1)).shape
      (2, 4)
    """

    _technique = "drop_connect"

    features: int
    rate: Rate
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()
    activation: Callable[[Array], Array] | None = None
    per_example: bool = False
    evaluation: str = "mean"

    def __post_init__(self) -> None:
        tidy(self)
        check_rate(self.rate)
        check_evaluation(self.evaluation, self.activation)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: Array,
        deterministic: Flag | None = None,
        rng: Key | None = None,
        *,
        rate: Rate | None = None,
    ) -> Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, in_features)``.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute; may be traced.

        Returns:
          Outputs, ``(*batch, features)``.
        """
        kernel, bias = self._parameters(inputs.shape[-1])
        rate = self.rate if rate is None else as_number(rate)
        key, flag = self._settle(deterministic, rng, rate)

        def finish(y: Array) -> Array:
            y = add_bias(y, bias)
            return y if self.activation is None else self.activation(y)

        return dropped_layer(
            key,
            inputs,
            kernel,
            rate=rate,
            deterministic=flag,
            product=self._product,
            finish=finish,
            per_example=self.per_example,
            evaluation=self.evaluation,
        )
