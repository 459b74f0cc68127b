"""Further methods, which only studies and ``--methods`` train, and what they add."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

import jaxdrop
from comparison.method import Method, with_grids
from comparison.training import Program, State
from data import Split
from jaxdrop import constraints, inputs, keys, penalties, schedules


@dataclass(frozen=True, kw_only=True)
class Terms(Method):
    """What further methods add to those of the script, from which they derive as well.

    Attributes:
      schedule: from a rate and the number of steps to the rate at each step.
      quiet: whether the schedule ends at a rate of 0.
      learned_rates: how strongly the rates of concrete dropout, which are learned, are
        held up: the coefficient of their entropy.
      orthogonal: the coefficient of the distance of kernels to orthonormal ones.
      l1: the coefficient of the sum of moduli, taken as a proximal step after Adam.
      group_lasso: the same of the norms of the weights that lead into a unit.
      confidence: the coefficient of the negative entropy of predictions.
      consistency: the coefficient of the divergence of two passes (R-Drop).
      mixup: the strength of mixup.
      input_noise: the standard deviation of noise that is added to pixels.
    """

    schedule: Callable[..., optax.Schedule] | None = None
    quiet: bool = False
    learned_rates: ArrayLike | None = None
    orthogonal: ArrayLike | None = None
    l1: ArrayLike | None = None
    group_lasso: ArrayLike | None = None
    confidence: ArrayLike | None = None
    consistency: ArrayLike | None = None
    mixup: ArrayLike | None = None
    input_noise: ArrayLike | None = None

    @property
    def is_random(self) -> bool:
        """Whether the trained network has noise."""
        return super().is_random and not self.quiet

    def examples(self, key: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """With noise on pixels, and mixed."""
        x, targets = super().examples(key, x, labels)
        if self.input_noise is not None:
            noise = keys.site(key, "input_noise")
            x = inputs.gaussian_noise(noise, x, stddev=self.input_noise)
        if self.mixup is not None:
            mix = keys.site(key, "mixup")
            x, targets = inputs.mixup(mix, x, targets, alpha=self.mixup)
        return x, targets

    def loss(self, network: nnx.Module, x: Array, targets: Array) -> Array:
        """Of R-Drop: of two passes, and how far they are apart."""
        if self.consistency is None:
            return super().loss(network, x, targets)
        logits = jnp.stack([network(x), network(x)])
        loss = optax.softmax_cross_entropy(logits, targets[None]).mean()
        loss += penalties.consistency(logits, coefficient=self.consistency)
        return loss + self.penalty(network, logits)

    def penalty(self, network: nnx.Module, logits: Array) -> ArrayLike:
        """With further penalties."""
        total = super().penalty(network, logits)
        if self.confidence is not None:
            total += penalties.confidence(logits, coefficient=self.confidence)
        if self.orthogonal is not None:
            params = nnx.state(network, nnx.Param)
            total += penalties.orthogonal(
                params,
                coefficient=self.orthogonal,
                where=lambda path, _: path.endswith("kernel"),
            )
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
        """With proximal steps."""
        chain = [super().optimizer(learning_rate)]
        for step, coefficient in (
            (constraints.soft_threshold, self.l1),
            (constraints.group_soft_threshold, self.group_lasso),
        ):
            if coefficient is not None:
                chain.append(step(_product(coefficient, learning_rate)))
        return optax.chain(*chain) if len(chain) > 1 else chain[0]

    def step(self, program: Program, key: Array, state: State, batch: Split) -> State:
        """At the rates of the schedule."""
        if self.schedule is not None:
            network = state.model
            num_steps = program.recipe.epochs * program.num_steps
            self.set_rates(network, state.step, num_steps)
            state = state._replace(streams=nnx.state(network, nnx.Not(nnx.Param)))
        return super().step(program, key, state, batch)

    def set_rates(self, network: nnx.Module, step: Array, num_steps: int) -> None:
        """Changes the rates of the network to those that the schedule has at a step."""
        share = self.schedule(1.0, num_steps)(step)
        network.input_rate[...] = share * jnp.float32(self.rates[0])
        network.hidden_rate[...] = share * jnp.float32(self.rates[1])


def _product(coefficient: ArrayLike, schedule: optax.Schedule) -> optax.Schedule:
    return lambda step: coefficient * schedule(step)


def _concrete(*sizes: int, rate: Any, rngs: nnx.Rngs, **options: Any) -> nnx.Module:
    """A linear layer that learns its rate."""
    del rate
    return jaxdrop.nnx.ConcreteDropout(
        nnx.Linear(*sizes, rngs=rngs, **options),
        weight_regularizer=0.0,
        dropout_regularizer=0.0,
        rngs=rngs,
    )


def _early(rate: ArrayLike, num_steps: int) -> optax.Schedule:
    return schedules.early(rate, cutoff=num_steps // 2)


def _curriculum(rate: ArrayLike, num_steps: int) -> optax.Schedule:
    return schedules.curriculum(rate, num_steps=num_steps)


def methods(method: type[Terms]) -> tuple[Terms, ...]:
    """All of them, as instances of a class that derives from :class:`Terms`."""
    dropout = partial(method, noise=jaxdrop.nnx.Dropout)
    return with_grids(
        method(name="concrete dropout", linear=_concrete, learned_rates=1e-4),
        method(name="L1", l1=0.01),
        method(name="elastic net", l1=0.01, l2=1e-4),
        method(name="group lasso", group_lasso=0.01),
        method(name="orthogonal", orthogonal=1e-3),
        method(name="max-norm", max_norm=1.5),
        dropout(name="dropout + L2", l2=1e-4),
        method(name="confidence penalty", confidence=0.1),
        method(name="mixup", mixup=0.2),
        dropout(name="mixup + dropout", mixup=0.2),
        method(name="input noise", input_noise=0.3),
        dropout(name="R-Drop", consistency=1.0),
        dropout(name="early dropout", schedule=_early, quiet=True),
        dropout(name="curriculum dropout", schedule=_curriculum),
        method(name="early stopping", patience=10),
    )
