"""A network that learns from the labels there are: one program for all rounds."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array, lax

from data import Split
from study.recipe import PerceptronRecipe
from uncertainty.network import NUM_CLASSES, Network


@dataclass(frozen=True, kw_only=True)
class PoolRecipe(PerceptronRecipe):
    """How a network is trained from scratch, however many labels there are.

    Attributes:
      num_steps: the number of steps; the learning rate falls to 0 along a cosine.
    """

    batch_size: int = 32
    num_steps: int


class Labelled(NamedTuple):
    """The images of a pool that have labels.

    The array has the size of the whole budget from the start: a round in which there
    are more labels has the same shapes, and does not compile again.

    Attributes:
      rows: ``(budget,)``: their rows in the order of labelling, and then anything.
      count: how many have labels.
    """

    rows: Array
    count: Array

    def add(self, rows: Array) -> "Labelled":
        """The same and more rows, for which there must be room."""
        all_rows = lax.dynamic_update_slice(self.rows, rows, (self.count,))
        return Labelled(all_rows, self.count + len(rows))

    def flags(self, pool_size: int) -> Array:
        """``(pool_size,)``: which images have labels."""
        is_row = jnp.arange(len(self.rows)) < self.count
        nowhere = jnp.where(is_row, self.rows, pool_size)
        return jnp.zeros(pool_size, bool).at[nowhere].set(True, mode="drop")

    def draw(self, key: Array, number: int) -> Array:
        """Rows of random images that have labels, with replacement."""
        return self.rows[jax.random.randint(key, (number,), 0, self.count)]

    def candidates(self, key: Array, pool_size: int, number: int) -> Array:
        """Rows of random images without labels, each once, in random order."""
        order = jax.random.uniform(key, (pool_size,)) + self.flags(pool_size)
        return jnp.argsort(order)[:number]


def fit(key: Array, pool: Split, labelled: Labelled, recipe: PoolRecipe) -> Network:
    """Trains a network from scratch on the images that have labels.

    Args:
      key: of the weights, of the order of the images, and of dropout.
      pool: all images; only labels that are known are looked at.
      labelled: which are known.
      recipe: how.

    Returns:
      The network.
    """
    of_weights, of_noise, of_steps = jax.random.split(key, 3)
    sizes = (pool.x.shape[1], *recipe.hidden, NUM_CLASSES)
    rngs = nnx.Rngs(params=of_weights, dropout=of_noise)
    graphdef, params, streams = nnx.split(
        Network(sizes, recipe.rates, rngs), nnx.Param, ...
    )
    optimizer = optax.adam(
        optax.cosine_decay_schedule(recipe.learning_rate, recipe.num_steps)
    )

    def loss_of(params: nnx.State, streams: nnx.State, batch: Split) -> tuple:
        model = nnx.merge(graphdef, params, streams, copy=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            model(batch.x), batch.y
        )
        return losses.mean(), nnx.state(model, nnx.Not(nnx.Param))

    def step(carry: tuple, key: Array) -> tuple[tuple, None]:
        params, streams, opt_state = carry
        batch = pool.take(labelled.draw(key, recipe.batch_size))
        grads, streams = jax.grad(loss_of, has_aux=True)(params, streams, batch)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), streams, opt_state), None

    start = params, streams, optimizer.init(params)
    keys = jax.random.split(of_steps, recipe.num_steps)
    (params, streams, _), _ = lax.scan(step, start, keys)
    return nnx.merge(graphdef, params, streams, copy=True)
