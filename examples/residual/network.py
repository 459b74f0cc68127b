"""A residual network with batch normalization, and where noise has a place in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

import jaxdrop

NUM_CLASSES = 10

Noise = Callable[..., nnx.Module]
"""``(rate, *, rngs)`` to a module that regularizes what it is called with."""


def by_matrix_product(
    x: Array, kernel: Array, strides: Sequence[int], padding: str, **_: Any
) -> Array:
    """A convolution as one matrix product with the neighbours of each position.

    On small maps and few channels XLA's own convolutions take several times as long on
    a CPU, above all those of the gradient.
    """
    pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
    height, width = (
        side - window + 1
        for side, window in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    )
    down, right = strides
    neighbours = [
        x[:, top : top + height : down, left : left + width : right]
        for top in range(kernel.shape[0])
        for left in range(kernel.shape[1])
    ]
    return jnp.concatenate(neighbours, -1) @ kernel.reshape(-1, kernel.shape[-1])


Convolution = partial(nnx.Conv, conv_general_dilated=by_matrix_product)


class Branch(nnx.Module):
    """Two convolutions, each with its normalization, and noise after the last.

    Noise between a convolution and its normalization would make the variance that is
    normalized in training another one than in evaluation.
    """

    def __init__(
        self, channels: tuple[int, int], stride: int, noise: nnx.Module, rngs: nnx.Rngs
    ) -> None:
        inputs, outputs = channels
        conv = partial(Convolution, kernel_size=(3, 3), use_bias=False, rngs=rngs)
        self.first = conv(inputs, outputs, strides=stride)
        self.first_norm = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.second = conv(outputs, outputs)
        self.second_norm = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.noise = noise

    def __call__(self, x: Array) -> Array:
        """What is added to the shortcut."""
        x = nnx.relu(self.first_norm(self.first(x)))
        return self.noise(self.second_norm(self.second(x)))


class Block(nnx.Module):
    """A branch and a shortcut."""

    def __init__(
        self, channels: tuple[int, int], stride: int, branch: nnx.Module, rngs: nnx.Rngs
    ) -> None:
        self.branch = branch
        if stride == 1:
            self.shortcut = identity
        else:
            conv = Convolution(
                *channels, (1, 1), strides=stride, use_bias=False, rngs=rngs
            )
            norm = nnx.BatchNorm(channels[1], momentum=0.9, rngs=rngs)
            self.shortcut = nnx.Sequential(conv, norm)

    def __call__(self, x: Array) -> Array:
        """Feature maps ``(batch, height, width, channels)`` to others."""
        return nnx.relu(self.shortcut(x) + self.branch(x))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of a network.

    Attributes:
      width: the number of channels in the first stage; the second has twice as many.
      blocks_per_stage: the number of residual blocks in each of the two.
      stem_stride: of the first convolution: 2 for images that are larger.
    """

    width: int
    blocks_per_stage: int = 3
    stem_stride: int = 1

    @property
    def num_blocks(self) -> int:
        """The number of residual blocks in all."""
        return 2 * self.blocks_per_stage


class Network(nnx.Module):
    """Two stages of residual blocks, the mean over positions, and a classifier.

    Attributes:
      rates: of the noise in each block. They are data: a schedule sets them before each
        step, and nothing compiles again.
      head_rate: of the noise before the classifier.
    """

    def __init__(
        self,
        shape: Shape,
        rngs: nnx.Rngs,
        *,
        noise: Noise | None = None,
        in_last_stage_only: bool = False,
        subset_rates: tuple[float, ...] | None = None,
        head_noise: Noise | None = None,
    ) -> None:
        rates = [jaxdrop.nnx.Rate(0.0) for _ in range(shape.num_blocks)]
        self.rates = nnx.List(rates)
        self.head_rate = jaxdrop.nnx.Rate(0.0)
        self.stem = Convolution(
            1, shape.width, (3, 3), strides=shape.stem_stride, use_bias=False, rngs=rngs
        )
        self.stem_norm = nnx.BatchNorm(shape.width, momentum=0.9, rngs=rngs)
        blocks, inputs = [], shape.width
        for number in range(shape.num_blocks):
            is_in_last_stage = number >= shape.blocks_per_stage
            channels = inputs, shape.width * (1 + is_in_last_stage)
            stride = 2 if number == shape.blocks_per_stage else 1
            after = identity
            if noise and (is_in_last_stage or not in_last_stage_only):
                after = noise(self.rates[number], rngs=rngs)
            branch = Branch(channels, stride, after, rngs)
            if subset_rates:
                branch = jaxdrop.nnx.SubsetStochasticDepth(
                    branch, subset_rates[number], rngs=rngs
                )
            blocks.append(Block(channels, stride, branch, rngs))
            inputs = channels[1]
        self.blocks = nnx.List(blocks)
        if head_noise:
            self.head_noise = head_noise(self.head_rate, rngs=rngs)
        else:
            self.head_noise = identity
        self.head = nnx.Linear(inputs, NUM_CLASSES, rngs=rngs)

    def maps(self, x: Array) -> Array:
        """The feature maps of images ``(batch, height, width)`` after the stem."""
        return nnx.relu(self.stem_norm(self.stem(x[..., None])))

    def __call__(self, x: Array) -> Array:
        """The logits of images ``(batch, height, width)``."""
        x = self.maps(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.head_noise(x.mean((1, 2))))

    def set_rates(self, of_blocks: Array, of_head: float | Array) -> None:
        """Sets the rate of each block, ``(blocks,)``, and the one of the head."""
        for rate, value in zip(self.rates, of_blocks, strict=True):
            rate[...] = value
        self.head_rate[...] = jnp.float32(of_head)


def identity(x: Array) -> Array:
    """No noise, or a shortcut that changes nothing."""
    return x
