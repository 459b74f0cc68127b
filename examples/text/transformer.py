"""A small transformer whose rates of dropout are all variables: embedding to depth."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array

import jaxdrop
from jaxdrop import schedules
from jaxdrop.nnx import Rate


class Rates(NamedTuple):
    """The rates of a network at full strength.

    Attributes:
      embedding: of characters, all occurrences in a batch together.
      attention: of attention weights.
      residual: of what each sub-layer adds to the stream.
      depth: of leaving out the sub-layers of the last block; of earlier ones less.
    """

    embedding: float
    attention: float
    residual: float
    depth: float


class Attention(jaxdrop.nnx.StochasticModule):
    """Causal attention with dropout on its weights, which are never held at once."""

    def __init__(self, width: int, heads: int, rate: Rate, *, rngs: nnx.Rngs) -> None:
        super().__init__(rngs=rngs)
        self.heads, self.rate = heads, rate
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, use_bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """What each position takes from those before it, ``(batch, time, width)``."""
        flag = self._mode(None)
        query, key, value = jnp.split(
            self.qkv(x).reshape(*x.shape[:-1], self.heads, -1), 3, axis=-1
        )
        attended = jaxdrop.dot_product_attention(
            None if flag is True else self._draw_key(),
            query,
            key,
            value,
            rate=self.rate[...],
            is_causal=True,
            deterministic=flag,
        )
        return self.out(attended.reshape(x.shape))


class Perceptron(nnx.Module):
    """One hidden layer, four times as wide."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """The same at each position."""
        return self.down(nnx.gelu(self.up(x)))


class Residual(nnx.Module):
    """Adds a sub-layer to the stream: entries of it dropped, or all of an example."""

    def __init__(
        self, layer: nnx.Module, width: int, residual: Rate, depth: Rate, rngs: nnx.Rngs
    ) -> None:
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.layer = layer
        self.drop = jaxdrop.nnx.Dropout(residual, rngs=rngs)
        self.skip = jaxdrop.nnx.StochasticDepth(depth, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """The stream after the sub-layer."""
        return x + self.skip(self.drop(self.layer(self.norm(x))))


class CharacterTransformer(nnx.Module):
    """Predicts the next character from those of the window before it.

    Args:
      characters: the size of the alphabet.
      length: of a window.
      width: of the stream.
      num_blocks: of attention and perceptron.
      heads: of attention.
      rates: of dropout. Each is one variable for all modules that share it, but the
        rates of depth, of which there is one for a block.
      rngs: where parameters and masks come from.
    """

    def __init__(
        self,
        characters: int,
        *,
        length: int,
        width: int,
        num_blocks: int,
        heads: int,
        rates: Rates,
        rngs: nnx.Rngs,
    ) -> None:
        embedding, attention, residual = map(Rate, rates[:3])
        self.embed = nnx.Embed(characters, width, rngs=rngs)
        self.place = nnx.Embed(length, width, rngs=rngs)
        self.drop_types = jaxdrop.nnx.EmbeddingDropout(embedding, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(residual, rngs=rngs)
        blocks = []
        of_depth = schedules.depth_rates(
            rates.depth, num_blocks, mode="linear_from_one"
        )
        for number in range(num_blocks):
            depth = Rate(of_depth[number])
            for layer in (
                Attention(width, heads, attention, rngs=rngs),
                Perceptron(width, rngs=rngs),
            ):
                blocks.append(Residual(layer, width, residual, depth, rngs))
        self.blocks = nnx.List(blocks)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.linear = nnx.Linear(width, characters, rngs=rngs)

    def __call__(self, ids: Array) -> Array:
        """Logits of the character after each, ``(windows, length, characters)``."""
        x = self.drop_types(self.embed(ids), ids)
        x = self.drop(x + self.place(jnp.arange(ids.shape[-1])))
        for block in self.blocks:
            x = block(x)
        return self.linear(self.norm(x))
