"""The base of dense layers with noisy weights, as Linen modules."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._typing import Array


class NoisyDense:
    """The parameters and the product of ``flax.linen.Dense``, to which noise is added.

    Its fields are declared by the classes that inherit this, since their order is part
    of a Linen module's signature: ``features``, ``use_bias``, ``dtype``,
    ``param_dtype``, ``precision``, ``kernel_init`` and ``bias_init``.
    """

    def _parameters(self: Any, in_features: int) -> tuple[Array, Array | None]:
        """The kernel, and the bias if there is one."""
        shape = (in_features, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", self.bias_init, shape[1:], self.param_dtype)

    def _product(self: Any, x: Array, kernel: Array, dtype: Any = None) -> Array:
        """Inputs times a kernel, in ``dtype``, by default that of the layer."""
        dtype = self.dtype if dtype is None else dtype
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=dtype)
        return jnp.matmul(x, kernel, precision=self.precision)
