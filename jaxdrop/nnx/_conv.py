"""Convolutions with noisy weights, as NNX modules."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx

from jaxdrop._dropout._dropped_layer import add_bias, check_evaluation, dropped_layer
from jaxdrop._dropout._noisy_weights import variational_conv
from jaxdrop._dropout.variational_penalty import variational_penalty
from jaxdrop._dropout.variational_sparsity import variational_sparsity
from jaxdrop._typing import Array, Flag, Scalar
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._linear import require_rngs
from jaxdrop.nnx._module import KeySource, Mode, Rate, StochasticModule, value_of
from jaxdrop.nnx._rate import hold_rate


class ConvOptions(Mode, total=False):
    """The arguments of a convolution besides its sizes, as of ``flax.nnx.Conv``."""

    strides: int | Sequence[int]
    padding: Any
    input_dilation: int | Sequence[int]
    kernel_dilation: int | Sequence[int]
    feature_group_count: int
    use_bias: bool
    dtype: Any
    param_dtype: Any
    precision: Any
    kernel_init: Any
    bias_init: Any


class NoisyConv(StochasticModule, nnx.Conv):
    """The parameters and the product of ``flax.nnx.Conv``, to which noise is added.

    Args:
      in_features: the number of input channels.
      out_features: the number of output channels.
      kernel_size: the sides of the kernel.
      **options: as for ``flax.nnx.Conv``, and the mode as for
        :class:`StochasticModule`; ``rngs`` is required for initialization.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        **options: Unpack[ConvOptions],
    ) -> None:
        rngs = require_rngs(options.get("rngs"))
        given: dict[str, Any] = {**options}
        mode = {name: given.pop(name) for name in Mode.__annotations__ if name in given}
        nnx.Conv.__init__(
            self, in_features, out_features, kernel_size, rngs=rngs, **given
        )
        StochasticModule.__init__(self, **mode)

    def _product(self, x: Array, kernel: Array, dtype: Any = None) -> Array:
        """Inputs convolved with a kernel, in ``dtype``, by default the layer's."""
        conv: Any = _WithKernel(self, kernel, self.dtype if dtype is None else dtype)
        return nnx.Conv.__call__(conv, x)

    def _add_bias(self, y: Array) -> Array:
        return add_bias(y, None if self.bias is None else self.bias[...])


class DropConnectConv(NoisyConv):
    """A convolution whose weights are dropped, :func:`jaxdrop.drop_connect`.

    The bias is never dropped. Parameters and options are those of ``flax.nnx.Conv``,
    and evaluation is that layer; or its mean over masks by matching moments.

    Args:
      in_features: the number of input channels.
      out_features: the number of output channels.
      kernel_size: the sides of the kernel.
      rate: the probability of dropping a weight.
      activation: an elementwise function that is applied to the output.
      per_example: draw a mask for each example, on the first axis, instead of one for
        the batch.
      evaluation: ``"mean"``, the layer with its mean weights, or ``"moments"``, the
        mean of ``activation`` over masks, in the normal approximation.
      **options: as for ``flax.nnx.Conv``, and the mode as for
        :class:`StochasticModule`; ``rngs`` is required for initialization.

    References:
      Wan, Zeiler, Zhang, LeCun, Fergus, `Regularization of neural networks using
      DropConnect <https://proceedings.mlr.press/v28/wan13.html>`_, ICML 2013.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> conv = jaxdrop.nnx.DropConnectConv(3, 8, (3, 3), 0.5, rngs=nnx.Rngs(0))
      >>> conv(jnp.ones((2, 9, 9, 3))).shape
      (2, 9, 9, 8)
    """

    _technique = "drop_connect"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        rate: RateLike | Rate,
        *,
        activation: Callable[[Array], Array] | None = None,
        per_example: bool = False,
        evaluation: str = "mean",
        **options: Unpack[ConvOptions],
    ) -> None:
        rate = hold_rate(rate)
        check_evaluation(evaluation, activation)
        super().__init__(in_features, out_features, kernel_size, **options)
        self.rate = rate
        self.activation = activation
        self.per_example = per_example
        self.evaluation = evaluation

    def __call__(  # type: ignore[override]
        self,
        inputs: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Applies the layer; arguments override the attributes of their names.

        Args:
          inputs: ``(*batch, *spatial, in_features)``.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call; may be traced.

        Returns:
          Outputs, ``(*batch, *spatial, out_features)``.
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


class VariationalConv(NoisyConv):
    """A convolution that learns the noise of its weights, and prunes noisy ones.

    The convolution that corresponds to :class:`VariationalLinear`. Add :meth:`penalty`
    to the loss.

    Args:
      in_features: the number of input channels.
      out_features: the number of output channels.
      kernel_size: the sides of the kernel.
      log_variance_init: the initial log variances.
      threshold: weights whose log of ``variance / mean**2`` is above this are pruned.
      **options: as for ``flax.nnx.Conv``, and the mode as for
        :class:`StochasticModule`; ``rngs`` is required for initialization.

    References:
      Molchanov, Ashukha, Vetrov, `Variational dropout sparsifies deep neural networks
      <https://arxiv.org/abs/1701.05369>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> conv = jaxdrop.nnx.VariationalConv(3, 8, (3, 3), rngs=nnx.Rngs(0))
      >>> conv(jnp.ones((2, 9, 9, 3))).shape, bool(conv.penalty() > 0)
      ((2, 9, 9, 8), True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        log_variance_init: float = -10.0,
        threshold: Scalar = 3.0,
        **options: Unpack[ConvOptions],
    ) -> None:
        super().__init__(in_features, out_features, kernel_size, **options)
        self.kernel_log_variance = nnx.Param(
            jnp.full_like(self.kernel[...], log_variance_init)
        )
        self.threshold = threshold

    def __call__(  # type: ignore[override]
        self,
        inputs: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
    ) -> Array:
        """Applies the layer; arguments override the attributes of their names.

        Args:
          inputs: ``(*batch, *spatial, in_features)``.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.

        Returns:
          Outputs, ``(*batch, *spatial, out_features)``.
        """
        flag = self._mode(deterministic)
        y = variational_conv(
            None if flag is True else self._draw_key(rngs),
            inputs,
            self.kernel[...],
            self.kernel_log_variance[...],
            product=self._product,
            threshold=value_of(self.threshold),
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


class _WithKernel:
    """A convolution as its own call sees it, of another kernel and dtype, no bias."""

    def __init__(self, conv: nnx.Conv, kernel: Array, dtype: Any) -> None:
        self._conv = conv
        self.kernel = kernel
        self.dtype = dtype
        self.bias = None
        self.use_bias = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conv, name)
