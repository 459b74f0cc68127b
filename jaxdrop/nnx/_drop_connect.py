"""Layers whose weights are dropped, as NNX modules."""

from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx

from jaxdrop._checks import check_rate
from jaxdrop._dropout.drop_connect import drop_connect
from jaxdrop._typing import Array, Flag
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._module import KeySource, Mode, Rate, StochasticModule


class DropConnectLinear(StochasticModule):
    """A dense layer whose weights are dropped, :func:`jaxdrop.drop_connect`.

    One mask of the kernel serves the whole batch; the bias is never dropped. Parameters
    have the names, shapes and initialisation of ``flax.nnx.Linear``, and evaluation is
    that layer.

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
      **mode: see :class:`StochasticModule`; ``rngs`` is required for initialisation.

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
        **mode: Unpack[Mode],
    ) -> None:
        if not isinstance(rate, nnx.Variable):
            check_rate(rate, caller="DropConnectLinear")
        rngs = mode.get("rngs")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(
                "DropConnectLinear: rngs must be nnx.Rngs, from which the parameters "
                f"are initialised, got {type(rngs).__name__}."
            )
        self.rate = rate
        self.dtype = dtype
        self.precision = precision
        shape = (in_features, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, param_dtype))
        bias = (
            bias_init(rngs.params(), (out_features,), param_dtype) if use_bias else None
        )
        self.bias = nnx.Param(bias) if use_bias else nnx.data(None)
        super().__init__(**mode)  # forks a stream: after the parameters, as in Flax

    def __call__(
        self,
        x: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Applies the layer; what is given here overrides the attribute of its name.

        Args:
          x: inputs, ``(*batch, in_features)``.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call; may be traced.

        Returns:
          Outputs, ``(*batch, out_features)``.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self.settle(deterministic, rngs, chosen)
        kernel = drop_connect(key, self.kernel[...], rate=chosen, deterministic=flag)
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = nnx.nn.dtypes.promote_dtype(
            (x, kernel, bias), dtype=self.dtype
        )
        y = jnp.matmul(x, kernel, precision=self.precision)
        return y if bias is None else y + jnp.reshape(bias, (1,) * (y.ndim - 1) + (-1,))
