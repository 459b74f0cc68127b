"""Layers with learned noise on their weights, as Linen modules."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._dropout._dropped_layer import add_bias
from jaxdrop._dropout.variational_dense import variational_dense
from jaxdrop._dropout.variational_penalty import variational_penalty
from jaxdrop._dropout.variational_sparsity import variational_sparsity
from jaxdrop._typing import Array, Flag, Key, Scalar
from jaxdrop.linen._linear import NoisyDense
from jaxdrop.linen._module import StochasticModule
from jaxdrop.linen._penalties import sow_penalty


class VariationalDense(NoisyDense, StochasticModule):
    """A dense layer that learns the noise of its weights, and prunes noisy ones.

    :func:`jaxdrop.variational_dense` with parameters named and initialized as those of
    ``flax.linen.Dense``, and ``kernel_log_variance``. Each call sows its penalty into
    the collection ``"penalties"``: apply the model with ``mutable="penalties"`` and add
    the sum of its leaves to the loss.

    Attributes:
      features: the number of output features.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the products, see ``jax.lax.Precision``.
      kernel_init: the initializer of the means of the weights.
      bias_init: the initializer of the bias.
      log_variance_init: the initial log variances.
      threshold: weights whose log of ``variance / mean**2`` is above this are pruned.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> layer = jaxdrop.linen.VariationalDense(4)
      >>> x = jnp.ones((2, 8))
      >>> variables = layer.init(jax.random.key(0), x, deterministic=True)
      >>> y, sown = layer.apply(
      ...     variables, x, False, jax.random.key(1), mutable="penalties"
      ... )
      >>> y.shape, bool(sum(jax.tree.leaves(sown["penalties"])) > 0)
      ((2, 4), True)
      >>> float(layer.apply(variables, method="sparsity"))
      0.0
    """

    features: int
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()
    log_variance_init: float = -10.0
    threshold: Scalar = 3.0

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
        log_variance = self.param(
            "kernel_log_variance",
            nn.initializers.constant(self.log_variance_init),
            kernel.shape,
            self.param_dtype,
        )
        flag = self._mode(deterministic)
        inputs, mean, log_variance = nn.dtypes.promote_dtype(
            inputs, kernel, log_variance, dtype=self.dtype
        )
        y = variational_dense(
            None if flag is True else self._draw_key(rng),
            inputs,
            mean,
            log_variance,
            threshold=self.threshold,
            precision=self.precision,
            deterministic=flag,
        )
        sow_penalty(self, self.penalty)
        return add_bias(y, bias)

    def penalty(self) -> Array:
        """The penalty to add to the loss, :func:`jaxdrop.variational_penalty`."""
        return variational_penalty(*self._weights())

    def sparsity(self) -> Array:
        """The share of weights that evaluation leaves out."""
        return variational_sparsity(*self._weights(), threshold=self.threshold)

    @nn.nowrap
    def _weights(self) -> tuple[Array, Array]:
        names = ("kernel", "kernel_log_variance")
        weights: list[Array] = [self.get_variable("params", name) for name in names]
        return weights[0], weights[1]
