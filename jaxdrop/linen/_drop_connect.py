"""Layers whose weights are dropped, as Linen modules."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._checks import check_rate
from jaxdrop._dropout.drop_connect import drop_connect
from jaxdrop._typing import Array, Flag, Key, Rate
from jaxdrop.linen._module import StochasticModule


class DropConnectDense(StochasticModule):
    """A dense layer whose weights are dropped, :func:`jaxdrop.drop_connect`.

    One mask of the kernel serves the whole batch; the bias is never dropped. Parameters
    have the names, shapes and initialisation of ``flax.linen.Dense``, and evaluation is
    that layer.

    Attributes:
      features: the number of output features.
      rate: the probability of dropping a weight.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the product, see ``jax.lax.Precision``.
      kernel_init: the initializer of the kernel.
      bias_init: the initializer of the bias.

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

    features: int
    rate: Rate
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()

    def __post_init__(self) -> None:
        check_rate(self.rate, caller="DropConnectDense")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Array,
        deterministic: Flag | None = None,
        rng: Key | None = None,
        *,
        rate: Rate | None = None,
    ) -> Array:
        """Applies the layer.

        Args:
          x: inputs, ``(*batch, in_features)``.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute; may be traced.

        Returns:
          Outputs, ``(*batch, features)``.
        """
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, shape[1:], self.param_dtype)
        rate = self.rate if rate is None else rate
        key, flag = self.settle(deterministic, rng, rate)
        kernel = drop_connect(key, kernel, rate=rate, deterministic=flag)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = jnp.matmul(x, kernel, precision=self.precision)
        return y if bias is None else y + jnp.reshape(bias, (1,) * (y.ndim - 1) + (-1,))
