"""Layers with learned noise on their weights, as NNX modules."""

from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout.variational_dense import variational_dense
from jaxdrop._dropout.variational_penalty import variational_penalty
from jaxdrop._dropout.variational_sparsity import variational_sparsity
from jaxdrop._typing import Array, Flag, Scalar
from jaxdrop.nnx._linear import NoisyLinear
from jaxdrop.nnx._module import KeySource, Mode, value_of


class VariationalLinear(NoisyLinear):
    """A dense layer that learns the noise of its weights, and prunes noisy ones.

    :func:`jaxdrop.variational_dense` with parameters named and initialized as those of
    ``flax.nnx.Linear``, and ``kernel_log_variance``. Add :meth:`penalty` to the loss;
    for a whole model that is the sum over ``nnx.iter_modules(model)`` of the modules of
    this class.

    Args:
      in_features: the number of input features.
      out_features: the number of output features.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the products, see ``jax.lax.Precision``.
      kernel_init: the initializer of the means of the weights.
      bias_init: the initializer of the bias.
      log_variance_init: the initial log variances.
      threshold: weights whose log of ``variance / mean**2`` is above this are pruned.
      **mode: see :class:`StochasticModule`; ``rngs`` is required for initialization.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> layer = jaxdrop.nnx.VariationalLinear(8, 4, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 8))).shape, float(layer.sparsity())
      ((2, 4), 0.0)
      >>> bool(layer.penalty() > 0)
      True
    """

    _technique = "variational_dense"

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
        log_variance_init: float = -10.0,
        threshold: Scalar = 3.0,
        **mode: Unpack[Mode],
    ) -> None:
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
        shape = (in_features, out_features)
        self.kernel_log_variance = nnx.Param(
            jnp.full(shape, log_variance_init, param_dtype)
        )
        self.threshold = threshold

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
        inputs, mean, log_variance = nnx.nn.dtypes.promote_dtype(
            (inputs, self.kernel[...], self.kernel_log_variance[...]), dtype=self.dtype
        )
        y = variational_dense(
            None if flag is True else self._draw_key(rngs),
            inputs,
            mean,
            log_variance,
            threshold=value_of(self.threshold),
            precision=self.precision,
            deterministic=flag,
        )
        return self._add_bias(y)

    def penalty(self) -> Array:
        """The penalty to add to the loss, :func:`jaxdrop.variational_penalty`."""
        return variational_penalty(self.kernel[...], self.kernel_log_variance[...])

    def sparsity(self) -> Array:
        """The share of weights that evaluation leaves out."""
        return variational_sparsity(
            self.kernel[...],
            self.kernel_log_variance[...],
            threshold=value_of(self.threshold),
        )
