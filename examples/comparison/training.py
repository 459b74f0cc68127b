"""Training: all seeds of a method in one program, which is called once an epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from comparison.methods import Method
from data import Images, Split
from jaxdrop import metrics

NUM_CLASSES = 10
_WATCHED = 2000  # learning curves are drawn from so many images of a split


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all methods share.

    Attributes:
      hidden: the number of units in each hidden layer.
      rates: the rates of dropout at the pixels and at hidden layers.
      standardize: whether pixels have mean 0 and variance 1; otherwise 0 is black, and
        dropout leaves the background as it is.
      epochs: how often each training image is seen.
      batch_size: the number of images in a step.
      learning_rate: of Adam, in the first epoch.
      decay: its factor from one epoch to the next.
    """

    hidden: tuple[int, ...]
    rates: tuple[float, float]
    standardize: bool
    epochs: int
    batch_size: int
    learning_rate: float
    decay: float = 0.98


class State(NamedTuple):
    """A network and its optimizer: what a training step changes."""

    graphdef: nnx.GraphDef
    params: nnx.State
    streams: nnx.State  # from which dropout takes its keys
    opt_state: optax.OptState

    @property
    def model(self) -> nnx.Sequential:
        """The network. It is a copy: its streams go on without those of the state."""
        return nnx.merge(self.graphdef, self.params, self.streams, copy=True)


class Curves(NamedTuple):
    """Cross-entropies of the network without noise, ``(seeds, epochs)``."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Program:
    """Training as pure functions, of one seed; to be vmapped over seeds."""

    method: Method
    recipe: Recipe
    num_images: int
    num_pixels: int

    @property
    def batch_size(self) -> int:
        """The number of images in a step."""
        return min(self.recipe.batch_size, self.num_images)

    @property
    def num_steps(self) -> int:
        """The number of steps in an epoch; what remains of it is left out."""
        return self.num_images // self.batch_size

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer of the method, at the learning rate of the recipe."""
        recipe = self.recipe
        return self.method.optimizer(
            optax.exponential_decay(
                recipe.learning_rate, self.num_steps, recipe.decay, staircase=True
            )
        )

    def init(self, key: Array) -> State:
        """A network that is not trained yet."""
        sizes = (self.num_pixels, *self.recipe.hidden, NUM_CLASSES)
        model = self.method.network(sizes, self.recipe.rates, nnx.Rngs(key))
        graphdef, params, streams = nnx.split(model, nnx.Param, ...)
        return State(graphdef, params, streams, self.optimizer.init(params))

    def step(self, state: State, batch: Split) -> State:
        """One step of the optimizer."""

        def loss_of(params: nnx.State) -> tuple[Array, nnx.State]:
            model = state._replace(params=params).model
            loss = self.method.loss(model(batch.x), batch.y, params)
            return loss, nnx.state(model, nnx.Not(nnx.Param))

        grads, streams = jax.grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(state.graphdef, params, streams, opt_state)

    def epoch(
        self, key: Array, state: State, train: Split, watched: tuple[Split, ...]
    ) -> tuple[State, tuple[Array, ...]]:
        """Sees every training image once, in an order drawn from ``key``."""
        order = jax.random.permutation(key, self.num_images)
        batches = order[: self.num_steps * self.batch_size]
        state, _ = lax.scan(
            lambda state, rows: (self.step(state, train.take(rows)), None),
            state,
            batches.reshape(self.num_steps, self.batch_size),
        )
        model = state.model
        model.eval()
        losses = (metrics.negative_log_likelihood(model(x), y) for x, y in watched)
        return state, tuple(losses)


def train(
    method: Method,
    recipe: Recipe,
    images: Images,
    seeds: Array,
    after_epoch: Callable[[], None],
) -> tuple[State, Curves, float]:
    """Trains one network for each seed, all at once.

    Args:
      method: how to regularize.
      recipe: how to train.
      images: the data.
      seeds: one key for each network.
      after_epoch: is called after each epoch, to move a progress bar.

    Returns:
      The states, whose arrays have the seeds as their first axis; the curves; and the
      seconds that training took, without compilation.
    """
    program = Program(method, recipe, *images.train.x.shape)
    data = jax.device_put(images.train)
    watched = tuple(jax.device_put(split.take(slice(_WATCHED))) for split in images[:2])
    init_keys, shuffle_keys = jax.vmap(jax.random.split, out_axes=1)(seeds)
    epoch_keys = jax.vmap(jax.random.split, (0, None), 1)(shuffle_keys, recipe.epochs)
    state = jax.vmap(program.init)(init_keys)  # not jitted: methods share its pieces
    epoch = jax.jit(
        jax.vmap(program.epoch, in_axes=(0, 0, None, None)), donate_argnames="state"
    )
    epoch = epoch.lower(epoch_keys[0], state, data, watched).compile()

    losses = []
    start = time.perf_counter()
    for keys in epoch_keys:
        state, latest = epoch(keys, state, data, watched)
        losses.append(jax.device_get(latest))
        after_epoch()
    seconds = time.perf_counter() - start
    return state, Curves(*np.moveaxis(np.array(losses), 0, 2)), seconds
