"""The methods that are compared: what each changes in network, loss and optimizer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import jax
import optax
from flax import nnx
from jax import Array

import jaxdrop
from jaxdrop import constraints, penalties

_HE_NORMAL = nnx.initializers.he_normal()


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to regularize; each field by default does nothing.

    Attributes:
      name: what the table says.
      noise: the module before each linear layer, made from a rate.
      drop_connect: drop the weights of linear layers, not their inputs.
      rates: at the pixels and at hidden layers, where they are not the recipe's.
      standardize: give the network standardized pixels, whatever the recipe says.
      activation: what follows hidden layers.
      kernel_init: how kernels are initialised.
      l2: the coefficient of the sum of squared kernels in the loss.
      weight_decay: of AdamW, which multiplies it by the learning rate.
      max_norm: the largest norm of the weights that lead into a unit.
      label_smoothing: the share of each label that is spread over all classes.
    """

    name: str
    noise: Callable[..., nnx.Module] | None = None
    drop_connect: bool = False
    rates: tuple[float, float] | None = None
    standardize: bool = False
    activation: Callable[[Array], Array] = nnx.relu
    kernel_init: nnx.Initializer = _HE_NORMAL
    l2: float = 0.0
    weight_decay: float = 0.0
    max_norm: float | None = None
    label_smoothing: float = 0.0

    @property
    def key(self) -> str:
        """The name as ``--methods`` takes it."""
        return self.name.lower().replace(" + ", "+").replace(" ", "-")

    @property
    def is_random(self) -> bool:
        """Whether the network has noise, so that Monte-Carlo samples differ."""
        return self.noise is not None or self.drop_connect

    def network(
        self, sizes: tuple[int, ...], rates: tuple[float, float], rngs: nnx.Rngs
    ) -> nnx.Sequential:
        """A multilayer perceptron, from ``sizes[0]`` pixels to ``sizes[-1]`` logits."""
        input_rate, hidden_rate = self.rates or rates
        layers = []
        for number, (inputs, outputs) in enumerate(pairwise(sizes)):
            rate = hidden_rate if number else input_rate
            linear = nnx.Linear
            if self.drop_connect:
                linear = partial(jaxdrop.nnx.DropConnectLinear, rate=rate)
            if self.noise:
                layers.append(self.noise(rate, rngs=rngs))
            kernel_init = self.kernel_init
            layers.append(linear(inputs, outputs, kernel_init=kernel_init, rngs=rngs))
            layers.append(self.activation)
        return nnx.Sequential(*layers[:-1])  # no activation after the logits

    def loss(self, logits: Array, labels: Array, params: nnx.State) -> Array:
        """What is minimized: cross-entropy, and what the method adds to it."""
        one_hot = jax.nn.one_hot(labels, logits.shape[-1])
        targets = optax.smooth_labels(one_hot, self.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        if self.l2:
            loss += penalties.l2(params, coefficient=self.l2, where=_is_kernel)
        return loss

    def optimizer(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        """Adam, with the weight decay and the constraint of the method."""
        optimizer = optax.adam(learning_rate)
        if self.weight_decay:
            optimizer = optax.adamw(
                learning_rate,
                weight_decay=self.weight_decay,
                mask=constraints.decay_mask,
            )
        if self.max_norm is not None:
            optimizer = optax.chain(optimizer, constraints.max_norm(self.max_norm))
        return optimizer


def _is_kernel(path: str, leaf: Array) -> bool:
    del leaf
    return path.endswith("kernel")


_DROPOUT = Method(name="dropout", noise=jaxdrop.nnx.Dropout)

METHODS = (
    Method(name="none"),
    _DROPOUT,
    Method(name="Gaussian dropout", noise=jaxdrop.nnx.GaussianDropout),
    Method(name="DropConnect", drop_connect=True, rates=(0.2, 0.5)),
    Method(  # as self-normalizing networks want it
        name="alpha dropout + SELU",
        noise=jaxdrop.nnx.AlphaDropout,
        rates=(0.05, 0.05),
        standardize=True,
        activation=nnx.selu,
        kernel_init=nnx.initializers.lecun_normal(),
    ),
    Method(name="L2 penalty", l2=3e-4),
    Method(name="weight decay", weight_decay=1.0),
    replace(_DROPOUT, name="dropout + max-norm", max_norm=1.5),
    Method(name="label smoothing", label_smoothing=0.1),
    replace(_DROPOUT, name="dropout + weight decay", weight_decay=0.3),
)
