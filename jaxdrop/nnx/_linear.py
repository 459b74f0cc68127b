"""The base of dense layers with noisy weights, as NNX modules."""

from typing import Any, TypedDict, Unpack

import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout._dropped_layer import add_bias
from jaxdrop._typing import Array
from jaxdrop.nnx._module import Mode, StochasticModule


class DenseOptions(TypedDict):
    """The arguments of a dense layer besides its sizes, as of ``flax.nnx.Linear``."""

    use_bias: bool
    dtype: Any
    param_dtype: Any
    precision: Any
    kernel_init: Any
    bias_init: Any


class NoisyLinear(StochasticModule):
    """The parameters and the product of ``flax.nnx.Linear``, to which noise is added.

    Args:
      in_features: the number of input features.
      out_features: the number of output features.
      options: as for ``flax.nnx.Linear``.
      **mode: see :class:`StochasticModule`; ``rngs`` is required for initialization.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        options: DenseOptions,
        **mode: Unpack[Mode],
    ) -> None:
        rngs = require_rngs(mode.get("rngs"))
        shape, dtype = (in_features, out_features), options["param_dtype"]
        self.dtype = options["dtype"]
        self.precision = options["precision"]
        self.kernel = nnx.Param(options["kernel_init"](rngs.params(), shape, dtype))
        bias: Any = nnx.data(None)
        if options["use_bias"]:
            bias = nnx.Param(options["bias_init"](rngs.params(), shape[1:], dtype))
        self.bias = bias
        super().__init__(**mode)  # forks a stream: after the parameters, as in Flax

    def _product(self, x: Array, kernel: Array, dtype: Any = None) -> Array:
        """Inputs times a kernel, in ``dtype``, by default the layer's."""
        dtype = self.dtype if dtype is None else dtype
        x, kernel = nnx.nn.dtypes.promote_dtype((x, kernel), dtype=dtype)
        return jnp.matmul(x, kernel, precision=self.precision)

    def _add_bias(self, y: Array) -> Array:
        return add_bias(y, None if self.bias is None else self.bias[...])


def require_rngs(rngs: Any, /) -> nnx.Rngs:
    """Returns ``rngs`` if parameters can be initialized from them, or raises."""
    if isinstance(rngs, nnx.Rngs):
        return rngs
    raise TypeError(
        "rngs must be nnx.Rngs, from which the parameters are initialized, got "
        f"{type(rngs).__name__}."
    )
