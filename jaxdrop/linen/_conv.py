"""Convolutions with noisy weights, as Linen modules."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdrop._checks import as_number, check_rate
from jaxdrop._dropout._dropped_layer import add_bias, check_evaluation, dropped_layer
from jaxdrop._dropout._noisy_weights import variational_conv
from jaxdrop._dropout.variational_penalty import variational_penalty
from jaxdrop._dropout.variational_sparsity import variational_sparsity
from jaxdrop._typing import Array, Flag, Key, Rate, Scalar
from jaxdrop.linen._module import StochasticModule, tidy
from jaxdrop.linen._penalties import sow_penalty


class NoisyConv:
    """The parameters and the product of ``flax.linen.Conv``, to which noise is added.

    Its fields are declared by the classes that inherit this, since their order is part
    of a Linen module's signature.
    """

    def _parameters(self: Any, x: Array) -> tuple[Array, Array | None]:
        """The kernel, and the bias if there is one, as ``flax.linen.Conv`` has them."""
        inputs = x.shape[-1] // self.feature_group_count
        shape = (*_sides(self.kernel_size), inputs, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", self.bias_init, shape[-1:], self.param_dtype)

    def _product(self: Any, x: Array, kernel: Array, dtype: Any = None) -> Array:
        """Convolves with a kernel, in ``dtype``, by default that of the layer."""
        conv = nn.Conv(
            self.features,
            _sides(self.kernel_size),
            strides=self.strides,
            padding=self.padding,
            input_dilation=self.input_dilation,
            kernel_dilation=self.kernel_dilation,
            feature_group_count=self.feature_group_count,
            use_bias=False,
            dtype=self.dtype if dtype is None else dtype,
            precision=self.precision,
            parent=None,
        )
        convolved: Any = conv.apply({"params": {"kernel": kernel}}, x)
        return convolved


class DropConnectConv(NoisyConv, StochasticModule):
    """A convolution whose weights are dropped, :func:`jaxdrop.drop_connect`.

    The bias is never dropped. Parameters and attributes are those of
    ``flax.linen.Conv``, and evaluation is that layer; or its mean over masks by
    matching moments.

    Attributes:
      features: the number of output channels.
      kernel_size: the sides of the kernel.
      rate: the probability of dropping a weight.
      strides: the steps between outputs.
      padding: as for ``flax.linen.Conv``.
      input_dilation: the steps between inputs.
      kernel_dilation: the steps between weights.
      feature_group_count: into how many groups the channels fall.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the product, see ``jax.lax.Precision``.
      kernel_init: the initializer of the kernel.
      bias_init: the initializer of the bias.
      activation: an elementwise function that is applied to the output.
      per_example: draw a mask for each example, on the first axis, instead of one for
        the batch.
      evaluation: ``"mean"``, the layer with its mean weights, or ``"moments"``, the
        mean of ``activation`` over masks, in the normal approximation.

    References:
      Wan, Zeiler, Zhang, LeCun, Fergus, `Regularization of neural networks using
      DropConnect <https://proceedings.mlr.press/v28/wan13.html>`_, ICML 2013.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> conv = jaxdrop.linen.DropConnectConv(8, (3, 3), 0.5)
      >>> x = jnp.ones((2, 9, 9, 3))
      >>> variables = conv.init(jax.random.key(0), x, deterministic=True)
      >>> conv.apply(variables, x, False, jax.random.key(1)).shape
      (2, 9, 9, 8)
    """

    _technique = "drop_connect"

    features: int
    kernel_size: int | Sequence[int]
    rate: Rate
    strides: int | Sequence[int] = 1
    padding: Any = "SAME"
    input_dilation: int | Sequence[int] = 1
    kernel_dilation: int | Sequence[int] = 1
    feature_group_count: int = 1
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
          inputs: ``(*batch, *spatial, in_features)``.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute; may be traced.

        Returns:
          Outputs, ``(*batch, *spatial, features)``.
        """
        kernel, bias = self._parameters(inputs)
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


class VariationalConv(NoisyConv, StochasticModule):
    """A convolution that learns the noise of its weights, and prunes noisy ones.

    The convolution that corresponds to :class:`VariationalDense`. Each call sows its
    penalty into the collection ``"penalties"``.

    Attributes:
      features: the number of output channels.
      kernel_size: the sides of the kernel.
      strides: the steps between outputs.
      padding: as for ``flax.linen.Conv``.
      input_dilation: the steps between inputs.
      kernel_dilation: the steps between weights.
      feature_group_count: into how many groups the channels fall.
      use_bias: whether to add a bias.
      dtype: the dtype to compute in; by default that of inputs and parameters.
      param_dtype: the dtype of the parameters.
      precision: of the products, see ``jax.lax.Precision``.
      kernel_init: the initializer of the means of the weights.
      bias_init: the initializer of the bias.
      log_variance_init: the initial log variances.
      threshold: weights whose log of ``variance / mean**2`` is above this are pruned.

    References:
      Molchanov, Ashukha, Vetrov, `Variational dropout sparsifies deep neural networks
      <https://arxiv.org/abs/1701.05369>`_, ICML 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> conv = jaxdrop.linen.VariationalConv(8, (3, 3))
      >>> x = jnp.ones((2, 9, 9, 3))
      >>> variables = conv.init(jax.random.key(0), x, deterministic=True)
      >>> y, sown = conv.apply(
      ...     variables, x, False, jax.random.key(1), mutable="penalties"
      ... )
      >>> y.shape, bool(sum(jax.tree.leaves(sown["penalties"])) > 0)
      ((2, 9, 9, 8), True)
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Any = "SAME"
    input_dilation: int | Sequence[int] = 1
    kernel_dilation: int | Sequence[int] = 1
    feature_group_count: int = 1
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
          inputs: ``(*batch, *spatial, in_features)``.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.

        Returns:
          Outputs, ``(*batch, *spatial, features)``.
        """
        kernel, bias = self._parameters(inputs)
        log_variance = self.param(
            "kernel_log_variance",
            nn.initializers.constant(self.log_variance_init),
            kernel.shape,
            self.param_dtype,
        )
        flag = self._mode(deterministic)
        y = variational_conv(
            None if flag is True else self._draw_key(rng),
            inputs,
            kernel,
            log_variance,
            product=self._product,
            threshold=self.threshold,
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


def _sides(kernel_size: int | Sequence[int]) -> tuple[int, ...]:
    return (kernel_size,) if isinstance(kernel_size, int) else tuple(kernel_size)
