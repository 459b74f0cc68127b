"""Training: one program for all epochs and seeds of a method."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from data import Images, Split
from jaxdrop import metrics
from residual.methods import Method, Strength
from residual.network import NUM_CLASSES, Network, Shape
from study.recipe import Recipe

_CHUNK = 100  # of images that are predicted at a time


@dataclass(frozen=True, kw_only=True)
class ResidualRecipe(Recipe):
    """What all methods share; the learning rate falls to 0 along a cosine.

    Attributes:
      shape: of the network.
      train_size: the number of training images.
      epochs: how often each of them is seen.
      num_checks: how often the validation images are looked at.
    """

    shape: Shape
    train_size: int
    epochs: int
    num_checks: int = 20

    @property
    def epochs_between_checks(self) -> int:
        """After how many epochs the validation images are looked at."""
        return max(1, self.epochs // self.num_checks)


class State(NamedTuple):
    """A network and its optimizer: what a training step changes."""

    graphdef: nnx.GraphDef
    params: nnx.State
    others: nnx.State  # statistics of normalizations, rates, streams of keys
    opt_state: optax.OptState

    @property
    def network(self) -> Network:
        """A copy of the network."""
        return nnx.merge(self.graphdef, self.params, self.others, copy=True)


class Scores(NamedTuple):
    """How good the predictions of one pass without noise are.

    Attributes:
      error: the share of wrong classes.
      nll: the negative log-likelihood, in nats.
      wrong: for each image whether its class is wrong.
    """

    error: np.ndarray
    nll: np.ndarray
    wrong: np.ndarray


class Trained(NamedTuple):
    """What became of one seed.

    Attributes:
      state: in the end.
      checks: the scores on validation images on the way, each with ``checks`` as its
        first axis.
      seconds: what an epoch took, the median.
    """

    state: State
    checks: Scores
    seconds: float


@dataclass(frozen=True)
class Program:
    """Training as pure functions."""

    method: Method
    recipe: ResidualRecipe

    @property
    def steps_per_epoch(self) -> int:
        """What remains of an epoch after the last full batch is left out."""
        return self.recipe.train_size // self.recipe.batch_size

    @property
    def num_steps(self) -> int:
        """The length of training."""
        return self.recipe.epochs * self.steps_per_epoch

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, the same for all methods."""
        rate = self.recipe.learning_rate
        return optax.adam(optax.cosine_decay_schedule(rate, self.num_steps))

    def init(self, seed: int, strength: float) -> State:
        """A network that is not trained yet."""
        rngs = nnx.Rngs(params=seed, dropout=seed)
        network = self.method.network(strength, self.recipe.shape, rngs)
        graphdef, params, others = nnx.split(network, nnx.Param, ...)
        return State(graphdef, params, others, self.optimizer.init(params))

    def step(
        self,
        strength: Strength,
        state: State,
        key: Array,
        number: Array,
        batch: Split,
    ) -> State:
        """One step of the optimizer; ``number`` counts from 0 over all epochs."""
        method, labels = self.method, jax.nn.one_hot(batch.y, NUM_CLASSES)
        x = batch.x
        if method.augment:
            x, labels = method.augment(key, x, labels, strength)
        share = method.when(number, self.num_steps)
        rates = share * method.rates(
            strength, number, self.num_steps, self.recipe.shape.num_blocks
        )

        def loss_of(params: nnx.State) -> tuple[Array, nnx.State]:
            network = state._replace(params=params).network
            if not method.is_static:  # then the strength is a side, or built in
                network.set_rates(rates, share * strength)
            loss = optax.softmax_cross_entropy(network(x), labels).mean()
            return loss, nnx.state(network, nnx.Not(nnx.Param))

        grads, others = jax.grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = self.optimizer.update(grads, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        return State(state.graphdef, params, others, opt_state)

    def epoch(
        self, strength: Strength, state: State, key: Array, epoch: Array, train: Split
    ) -> State:
        """Sees every training image once, in an order drawn from ``key``."""
        of_order, of_steps = jax.random.split(key)
        order = jax.random.permutation(of_order, self.recipe.train_size)
        used = order[: self.steps_per_epoch * self.recipe.batch_size]
        numbers = epoch * self.steps_per_epoch + jnp.arange(self.steps_per_epoch)

        def step(state: State, at: tuple[Array, Array, Array]) -> tuple[State, None]:
            key, number, rows = at
            return self.step(strength, state, key, number, train.take(rows)), None

        keys = jax.random.split(of_steps, self.steps_per_epoch)
        rows = used.reshape(self.steps_per_epoch, -1)
        return lax.scan(step, state, (keys, numbers, rows))[0]


@jax.jit
def predict(state: State, x: Array) -> Array:
    """The logits of one pass without noise."""
    network = state.network
    network.eval()
    return network(x)


def evaluate(state: State, split: Split) -> Scores:
    """Scores of one pass without noise; in chunks, so that one program serves all."""
    whole = -(-len(split.y) // _CHUNK) * _CHUNK
    padding = [(0, whole - len(split.y)), (0, 0), (0, 0)]
    chunks = np.pad(split.x, padding).reshape(-1, _CHUNK, *split.x.shape[1:])
    logits = np.concatenate([predict(state, x) for x in chunks])[: len(split.y)]
    wrong = logits.argmax(-1) != split.y
    nll = np.asarray(metrics.negative_log_likelihood(logits, split.y))
    return Scores(wrong.mean(), nll, wrong)


def as_maps(images: Images) -> Images:
    """The same with images ``(n, height, width)``."""
    splits = (Split(x.reshape(-1, *images.shape), y) for x, y in images[:3])
    return Images(*splits, shape=images.shape)


def stacked(scores: list[Scores]) -> Scores:
    """The scores of all seeds, with the seeds as their first axis."""
    return Scores(*(np.stack(values) for values in zip(*scores, strict=True)))


class Trainer:
    """Trains networks with a method: one compilation for all seeds and strengths."""

    def __init__(self, method: Method, recipe: ResidualRecipe, images: Images) -> None:
        self.program = Program(method, recipe)
        self.images, self.validation = jax.device_put(images.train), images.validation
        self.compiled: dict[float | None, Callable[..., State]] = {}

    def train(
        self, seed: int, strength: float, after_epoch: Callable[[], object]
    ) -> Trained:
        """Trains a network.

        Args:
          seed: of weights, of the order of the images, and of noise.
          strength: of the method.
          after_epoch: is called after each epoch, to move a progress bar.

        Returns:
          What became of it.
        """
        recipe = self.program.recipe
        state, key = self.program.init(seed, strength), jax.random.key(seed)
        checks, seconds = [], []
        for number in range(recipe.epochs):
            of_epoch = jax.random.fold_in(key, number)
            at = jnp.float32(strength), state, of_epoch, jnp.int32(number)
            epoch = self._epoch(strength, *at)
            start = time.perf_counter()
            state = jax.block_until_ready(epoch(*at, self.images))
            seconds.append(time.perf_counter() - start)
            if (number + 1) % recipe.epochs_between_checks == 0:
                checks.append(evaluate(state, self.validation))
            after_epoch()
        along = Scores(*map(np.array, zip(*checks, strict=True)))
        return Trained(state, along, statistics.median(seconds))

    def _epoch(self, strength: float, *at: Any) -> Callable[..., State]:
        """The program of an epoch, in which a strength that is static is a constant."""
        constant = strength if self.program.method.is_static else None
        if constant not in self.compiled:

            def epoch(given: Array, *rest: Any) -> State:
                chosen = given if constant is None else constant
                return self.program.epoch(chosen, *rest)

            lowered = jax.jit(epoch).lower(*at, self.images)
            self.compiled[constant] = lowered.compile()
        return self.compiled[constant]
