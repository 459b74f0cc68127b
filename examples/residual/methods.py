"""The methods: what each does to the images, the network, and its rates."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import jaxdrop
from jaxdrop import inputs, schedules
from residual.network import Network, Noise, Shape

Strength = float | Array
Schedule = Callable[[Strength, Array, int, int], Array]
"""``(strength, step, num_steps, num_blocks)`` to the rate of each block."""
When = Callable[[Array, int], Array]
"""``(step, num_steps)`` to the share of its rates that a method has at a step."""
Augmentation = Callable[[Array, Array, Array, Strength], tuple[Array, Array]]
"""``(key, images, labels, strength)`` to other images and labels."""


def constant(rate: Strength, step: Array, num_steps: int, num_blocks: int) -> Array:
    """The same rate in all blocks, at all times."""
    del step, num_steps
    return jnp.full(num_blocks, rate)


def ramp(rate: Strength, step: Array, num_steps: int, num_blocks: int) -> Array:
    """From 0 to the rate in the course of training, as DropBlock was published."""
    return jnp.full(num_blocks, optax.linear_schedule(0.0, rate, num_steps)(step))


def by_depth(rate: Strength, step: Array, num_steps: int, num_blocks: int) -> Array:
    """Up to the rate of the last block, as stochastic depth was published."""
    del step, num_steps
    return schedules.depth_rates(rate, num_blocks, mode="linear_from_one")


def by_depth_and_time(
    rate: Strength, step: Array, num_steps: int, num_blocks: int
) -> Array:
    """Both: scheduled drop path."""
    return schedules.scheduled_drop_path(rate, depth=num_blocks, num_steps=num_steps)(
        step
    )


def always(step: Array, num_steps: int) -> Array:
    """All of the rates at all times."""
    del step, num_steps
    return jnp.float32(1.0)


def early(step: Array, num_steps: int) -> Array:
    """From all of the rates to nothing in the first half of training."""
    return schedules.early(1.0, cutoff=max(1, num_steps // 2))(step)


def late(step: Array, num_steps: int) -> Array:
    """Nothing in the first half of training, then all of the rates."""
    return schedules.late(1.0, cutoff=num_steps // 2)(step)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to regularize; each field by default does nothing.

    Attributes:
      name: what the table says.
      knob: what its strength is.
      strength: a rate, a side in pixels, or an alpha, chosen from ``candidates``.
      candidates: what ``--tune`` tries on validation images.
      noise: the module at the end of residual branches, made from a rate.
      in_last_stage_only: whether the blocks of the first stage go without it.
      rates: the rate of each block at each step.
      when: the share of the rates, those of blocks and that before the classifier, at
        each step.
      at_head: drop features before the classifier, at the strength as a rate.
      subset: run branches on a part of the batch only, at rates that do not change.
      augment: what happens to images and labels first.
      is_static: whether sizes depend on the strength, so that another one compiles
        again; otherwise it is data.
    """

    name: str
    knob: str = "rate"
    strength: float = 0.0
    candidates: tuple[float, ...] = ()
    noise: Noise | None = None
    in_last_stage_only: bool = False
    rates: Schedule = constant
    when: When = always
    at_head: bool = False
    subset: bool = False
    augment: Augmentation | None = None
    is_static: bool = False

    @property
    def key(self) -> str:
        """The name as ``--methods`` takes it."""
        return self.name.lower().replace(" ", "-")

    def network(self, strength: float, shape: Shape, rngs: nnx.Rngs) -> Network:
        """A network with the noise of the method."""
        subset_rates = None
        if self.subset:
            subset_rates = tuple(
                self.rates(strength, jnp.int32(0), 1, shape.num_blocks).tolist()
            )
        return Network(
            shape,
            rngs,
            noise=self.noise,
            in_last_stage_only=self.in_last_stage_only,
            subset_rates=subset_rates,
            head_noise=jaxdrop.nnx.Dropout if self.at_head else None,
        )


def cutout(key: Array, x: Array, labels: Array, side: Strength) -> tuple[Array, Array]:
    """Images ``(batch, height, width)`` with a hole, of the mean grey."""
    return inputs.cutout(key, x[..., None], size=int(side))[..., 0], labels


def mixup(key: Array, x: Array, labels: Array, alpha: Strength) -> tuple[Array, Array]:
    """Mixtures of two images each, and of their labels."""
    return inputs.mixup(key, x, labels, alpha=alpha)


METHODS = (
    Method(name="none"),
    Method(
        name="dropout",
        strength=0.7,
        candidates=(0.2, 0.5, 0.7),
        at_head=True,
    ),
    Method(
        name="spatial dropout",
        strength=0.2,
        candidates=(0.1, 0.2, 0.3),
        noise=jaxdrop.nnx.SpatialDropout,
        in_last_stage_only=True,
    ),
    Method(
        name="DropBlock",
        strength=0.3,
        candidates=(0.1, 0.2, 0.3),
        noise=partial(jaxdrop.nnx.DropBlock, block_size=3),
        rates=ramp,
    ),
    Method(
        name="stochastic depth",
        strength=0.1,
        candidates=(0.1, 0.3, 0.5),
        noise=jaxdrop.nnx.StochasticDepth,
        rates=by_depth,
    ),
    Method(
        name="scheduled drop path",
        strength=0.5,
        candidates=(0.1, 0.3, 0.5),
        noise=jaxdrop.nnx.StochasticDepth,
        rates=by_depth_and_time,
    ),
    Method(
        name="subset stochastic depth",
        strength=0.5,
        candidates=(0.1, 0.3, 0.5),
        subset=True,
        is_static=True,
        rates=by_depth,
    ),
    Method(
        name="cutout",
        knob="side",
        strength=4,
        candidates=(2, 3, 4),
        augment=cutout,
        is_static=True,
    ),
    Method(
        name="mixup",
        knob="alpha",
        strength=0.1,
        candidates=(0.1, 0.2, 0.4),
        augment=mixup,
    ),
)
"""What is compared by default."""

_BY_NAME = {method.name: method for method in METHODS}
TIMED_METHODS = tuple(
    replace(_BY_NAME[name], name=f"{when.__name__} {name}", when=when)
    for name, when in (
        ("dropout", early),
        ("stochastic depth", early),
        ("stochastic depth", late),
    )
)
"""Noise in a part of training only: Liu, Xu, Jin, Shen, Darrell, "Dropout reduces
underfitting", ICML 2023, https://arxiv.org/abs/2303.01500."""

ALL_METHODS = METHODS + TIMED_METHODS
