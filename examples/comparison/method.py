"""A method: what it changes in the network, the data, the loss and the optimizer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

import jaxdrop
from jaxdrop import constraints, inputs, keys, penalties

_HE_NORMAL = nnx.initializers.he_normal()


class Network(nnx.Sequential):
    """A multilayer perceptron whose rates are variables, and so are data.

    Args:
      layers: what is applied, in turn.
      rates: the variables that its noise shares, of pixels and of hidden units.
    """

    def __init__(
        self,
        layers: list[Callable[[Array], Array]],
        rates: tuple[jaxdrop.nnx.Rate, jaxdrop.nnx.Rate],
    ) -> None:
        super().__init__(*layers)
        self.input_rate, self.hidden_rate = rates


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to regularize; each field by default does nothing.

    Numbers may be traced, so that :meth:`at` can put the strengths of a sweep in the
    place of the usual ones.

    Attributes:
      name: what the table says.
      noise: the module before each linear layer, made from a rate.
      drop_connect: drop the weights of linear layers, not their inputs.
      rates: at the pixels and at hidden layers, where they are not the recipe's.
      schedule: from a rate and the number of steps to the rate at each step.
      quiet: whether the schedule ends at a rate of 0.
      learned_rates: how strongly the rates of concrete dropout, which are learned, are
        held up: the coefficient of their entropy.
      standardize: give the network standardized pixels, whatever the recipe says.
      activation: what follows hidden layers.
      kernel_init: how kernels are initialized.
      l2: the coefficient of the sum of squared kernels in the loss.
      orthogonal: the coefficient of the distance of kernels to orthonormal ones.
      l1: the coefficient of the sum of moduli, taken as a proximal step after Adam.
      group_lasso: the same of the norms of the weights that lead into a unit.
      weight_decay: of AdamW, which multiplies it by the learning rate.
      max_norm: the largest norm of the weights that lead into a unit.
      label_smoothing: the share of each label that is spread over all classes.
      confidence: the coefficient of the negative entropy of predictions.
      consistency: the coefficient of the divergence of two passes (R-Drop).
      mixup: the strength of mixup.
      input_noise: the standard deviation of noise that is added to pixels.
      patience: how many epochs without a better validation loss stop training.
      grid: the strengths of a sweep, by field; ``rate`` stands for ``rates``.
    """

    name: str
    noise: Callable[..., nnx.Module] | None = None
    drop_connect: bool = False
    rates: tuple[ArrayLike, ArrayLike] | None = None
    schedule: Callable[..., optax.Schedule] | None = None
    quiet: bool = False
    learned_rates: ArrayLike | None = None
    standardize: bool = False
    activation: Callable[[Array], Array] = nnx.relu
    kernel_init: nnx.Initializer = _HE_NORMAL
    l2: ArrayLike | None = None
    orthogonal: ArrayLike | None = None
    l1: ArrayLike | None = None
    group_lasso: ArrayLike | None = None
    weight_decay: ArrayLike | None = None
    max_norm: ArrayLike | None = None
    label_smoothing: ArrayLike | None = None
    confidence: ArrayLike | None = None
    consistency: ArrayLike | None = None
    mixup: ArrayLike | None = None
    input_noise: ArrayLike | None = None
    patience: int | None = None
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name as ``--methods`` takes it."""
        return self.name.lower().replace(" + ", "+").replace(" ", "-")

    @property
    def is_random(self) -> bool:
        """Whether the trained network has noise, so that Monte-Carlo samples differ."""
        has_noise = self.noise is not None or self.drop_connect
        return (has_noise and not self.quiet) or self.learned_rates is not None

    def at(
        self, strength: Mapping[str, ArrayLike], rates: tuple[float, float]
    ) -> "Method":
        """The method at a strength: numbers by the names of fields, traced or not.

        Args:
          strength: what replaces the fields. ``rate`` is the rate at hidden layers;
            pixels keep the share of it that they have.
          rates: the recipe's, where the method has none of its own.

        Returns:
          The same method with other numbers, and with rates in any case.
        """
        numbers = dict(strength)
        input_rate, hidden_rate = self.rates or rates
        rate = numbers.pop("rate", hidden_rate)
        share = input_rate / hidden_rate
        return replace(self, rates=(share * rate, rate), **numbers)

    def network(self, sizes: tuple[int, ...], rngs: nnx.Rngs) -> Network:
        """A multilayer perceptron, from ``sizes[0]`` pixels to ``sizes[-1]`` logits."""
        rates = [jaxdrop.nnx.Rate(rate) for rate in self.rates]
        layers = []
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            rate = rates[1] if number else rates[0]
            linear = nnx.Linear
            if self.drop_connect:
                linear = partial(jaxdrop.nnx.DropConnectLinear, rate=rate)
            if self.noise:
                layers.append(self.noise(rate, rngs=rngs))
            layer = linear(fan_in, fan_out, kernel_init=self.kernel_init, rngs=rngs)
            if self.learned_rates is not None:
                layer = jaxdrop.nnx.ConcreteDropout(
                    layer, weight_regularizer=0.0, dropout_regularizer=0.0, rngs=rngs
                )
            layers += [layer, self.activation]
        return Network(layers[:-1], tuple(rates))  # no activation after the logits

    def set_rates(self, network: Network, step: Array, num_steps: int) -> None:
        """Changes the rates of the network to those that the schedule has at a step."""
        if self.schedule is None:
            return
        share = self.schedule(1.0, num_steps)(step)
        network.input_rate[...] = share * jnp.float32(self.rates[0])
        network.hidden_rate[...] = share * jnp.float32(self.rates[1])

    def examples(self, key: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """What the network learns from in a step: pixels and shares of classes."""
        targets = jax.nn.one_hot(labels, 10)
        if self.label_smoothing is not None:
            targets = optax.smooth_labels(targets, self.label_smoothing)
        if self.input_noise is not None:
            noise = keys.site(key, "input_noise")
            x = inputs.gaussian_noise(noise, x, stddev=self.input_noise)
        if self.mixup is not None:
            mix = keys.site(key, "mixup")
            x, targets = inputs.mixup(mix, x, targets, alpha=self.mixup)
        return x, targets

    def loss(self, network: Network, x: Array, targets: Array) -> Array:
        """What is minimized: cross-entropy, and what the method adds to it."""
        if self.consistency is None:
            logits = network(x)
            loss = optax.softmax_cross_entropy(logits, targets).mean()
        else:
            logits = jnp.stack([network(x), network(x)])
            loss = optax.softmax_cross_entropy(logits, targets[None]).mean()
            loss += penalties.consistency(logits, coefficient=self.consistency)
        if self.confidence is not None:
            loss += penalties.confidence(logits, coefficient=self.confidence)
        return loss + self.penalty(network)

    def penalty(self, network: Network) -> ArrayLike:
        """What the parameters add to the loss."""
        params, total = nnx.state(network, nnx.Param), 0.0
        for penalty, coefficient in (
            (penalties.l2, self.l2),
            (penalties.orthogonal, self.orthogonal),
        ):
            if coefficient is not None:
                total += penalty(params, coefficient=coefficient, where=_is_kernel)
        if self.learned_rates is not None:
            for _, module in nnx.iter_modules(network):
                if isinstance(module, jaxdrop.nnx.ConcreteDropout):
                    total += jaxdrop.concrete_penalty(
                        module.logit_rate[...],
                        module.layer.kernel[...],
                        weight_regularizer=0.0,
                        dropout_regularizer=self.learned_rates,
                    )
        return total

    def optimizer(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        """Adam, with the weight decay and the constraints of the method."""
        optimizer = optax.adam(learning_rate)
        if self.weight_decay is not None:
            optimizer = optax.adamw(
                learning_rate,
                weight_decay=self.weight_decay,
                mask=constraints.decay_mask,
            )
        chain = [optimizer]
        for step, coefficient in (
            (constraints.soft_threshold, self.l1),
            (constraints.group_soft_threshold, self.group_lasso),
        ):
            if coefficient is not None:
                chain.append(step(_product(coefficient, learning_rate)))
        if self.max_norm is not None:
            chain.append(constraints.max_norm(self.max_norm))
        return optax.chain(*chain) if len(chain) > 1 else optimizer


def _product(coefficient: ArrayLike, schedule: optax.Schedule) -> optax.Schedule:
    return lambda step: coefficient * schedule(step)


def _is_kernel(path: str, leaf: Array) -> bool:
    del leaf
    return path.endswith("kernel")
