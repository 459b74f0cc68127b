"""Training: all strengths and seeds of a method in one program, called every epoch."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from comparison import sweep
from comparison.method import Method
from data import Images, Split
from jaxdrop import metrics
from jaxdrop.early_stopping import EarlyStopping
from study.recipe import ImageRecipe

NUM_CLASSES = 10
TRAIN_SIZE = "train_size"  # in a grid: how many of the training images are used
_WATCHED = 2000  # learning curves are drawn from so many images of a split


class State(NamedTuple):
    """A network and its optimizer: what a training step changes."""

    graphdef: nnx.GraphDef
    params: nnx.State
    streams: nnx.State  # from which dropout takes its keys, and its rates
    opt_state: optax.OptState
    step: Array  # how many there were
    stopper: EarlyStopping | None

    @property
    def model(self) -> nnx.Module:
        """The network. It is a copy: its streams go on without those of the state."""
        return nnx.merge(self.graphdef, self.params, self.streams, copy=True)


class Curves(NamedTuple):
    """Cross-entropies of the network without noise, ``(strengths, seeds, epochs)``."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a comparison or a study may spend.

    Attributes:
      num_seeds: how many networks each strength trains.
      num_samples: how many Monte-Carlo samples a prediction is the mean of.
    """

    num_seeds: int
    num_samples: int

    @property
    def seeds(self) -> Array:
        """The keys of the networks."""
        return jax.random.split(jax.random.key(0), self.num_seeds)

    @property
    def test_keys(self) -> Array:
        """The keys of their Monte-Carlo samples."""
        return jax.random.split(jax.random.key(1), self.num_seeds)


class Training(NamedTuple):
    """What training gives; the states' arrays have axes of strengths and of seeds.

    Attributes:
      states: the networks.
      curves: their learning curves.
      seconds: what training took, without compilation.
      compile_seconds: what compilation took.
    """

    states: State
    curves: Curves
    seconds: float
    compile_seconds: float


@dataclass(frozen=True)
class Program:
    """Training as pure functions of one strength, to be mapped over strengths."""

    method: Method
    recipe: ImageRecipe
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

    def at(self, strength: Mapping[str, Array]) -> Method:
        """The method at a strength; the number of images is none of its fields."""
        fields = {name: strength[name] for name in strength if name != TRAIN_SIZE}
        return self.method.at(fields, self.recipe.rates)

    def batches(self, strength: Mapping[str, Array], key: Array) -> Array:
        """The rows of each step of an epoch, ``(steps, batch_size)``.

        If the number of images is swept, the first so many are repeated, in order that
        epochs have equally many steps, and programs the same shapes.
        """
        order = jax.random.permutation(key, self.num_images)
        if TRAIN_SIZE in strength:
            order = order % strength[TRAIN_SIZE].astype(jnp.int32)
        used = order[: self.num_steps * self.batch_size]
        return used.reshape(self.num_steps, self.batch_size)

    @property
    def learning_rate(self) -> optax.Schedule:
        """The learning rate of the recipe, by the number of the step."""
        recipe = self.recipe
        return optax.exponential_decay(
            recipe.learning_rate, self.num_steps, recipe.decay, staircase=True
        )

    def init(self, strength: Mapping[str, Array], key: Array) -> State:
        """A network that is not trained yet."""
        method = self.at(strength)
        sizes = (self.num_pixels, *self.recipe.hidden, NUM_CLASSES)
        model = method.network(sizes, nnx.Rngs(key))
        graphdef, params, streams = nnx.split(model, nnx.Param, ...)
        opt_state = method.optimizer(self.learning_rate).init(params)
        stopper = None
        if method.patience is not None:
            best = jax.tree.map(jnp.copy, params)  # both are donated to an epoch
            stopper = EarlyStopping(patience=method.patience, best_params=best)
        return State(graphdef, params, streams, opt_state, jnp.int32(0), stopper)

    def updates(
        self,
        strength: Mapping[str, Array],
        keys: Array,
        states: State,
        train: Split,
        number: int | None = None,
    ) -> State:
        """An epoch of all seeds, or some updates only, in an order drawn from a key."""
        rows = jax.vmap(self.batches, (None, 0), out_axes=1)(strength, keys)
        method = self.at(strength)
        return method.updates(self, keys, states, train, rows[:number])

    def epoch(
        self,
        strength: Mapping[str, Array],
        keys: Array,
        states: State,
        train: Split,
        watched: tuple[Split, ...],
    ) -> tuple[State, tuple[Array, ...]]:
        """All seeds see every training image once; then they are watched."""
        states = self.updates(strength, keys, states, train)
        return jax.vmap(_watch, (0, None))(states, watched)


def _watch(state: State, watched: tuple[Split, ...]) -> tuple[State, tuple[Array, ...]]:
    """The losses without noise, the last of which may stop training."""
    model = state.model
    model.eval()
    losses = [metrics.negative_log_likelihood(model(x), y) for x, y in watched]
    if state.stopper is not None:
        stopper = state.stopper.update(losses[-1], state.params)
        state = state._replace(stopper=stopper)
    return state, tuple(losses)


def seen_by(method: Method, recipe: ImageRecipe, images: Images) -> Images:
    """The images as the network of a method is given them."""
    standardize = recipe.standardize or method.standardize
    return images.standardized() if standardize else images


def scaled_as(seen: Images, images: Images, others: np.ndarray) -> np.ndarray:
    """Other images, scaled as :func:`seen_by` has scaled those of a data set."""
    pixels = images.train.x
    return others if seen is images else (others - pixels.mean()) / pixels.std()


class Trainer:
    """Trains networks of one method; calls with as many runs share a compiled program.

    Args:
      method: how to regularize.
      recipe: how to train.
      images: the data; the test split is not looked at.
    """

    def __init__(self, method: Method, recipe: ImageRecipe, images: Images) -> None:
        self.method, self.recipe = method, recipe
        self._program = Program(method, recipe, *images.train.x.shape)
        watched = (split.take(slice(_WATCHED)) for split in images[:2])
        self._data = jax.device_put((images.train, tuple(watched)))
        self._compiled: dict[tuple, Callable] = {}

    def __call__(
        self,
        seeds: Array,
        after_epoch: Callable[[], None],
        strengths: dict[str, Array] | None = None,
    ) -> Training:
        """Trains one network for each strength and seed, all at once.

        Args:
          seeds: one key for each network of a strength; or with two axes, of strengths
            and of seeds, if the strengths do not share their seeds.
          after_epoch: is called after each epoch, to move a progress bar.
          strengths: the strengths, :func:`comparison.sweep.grid`; by default one, the
            usual one.

        Returns:
          The networks, the curves, and the time it took.
        """
        strengths = strengths or {}
        init_keys, epoch_keys = _keys(seeds, self.recipe.epochs)
        role = "seed" if seeds.ndim == 1 else "run"
        num = sweep.size(strengths) if seeds.ndim == 1 else len(seeds)
        init = sweep.runs(self._program.init, num, "strength", role)
        state = init(strengths, init_keys)  # not jitted: methods share its pieces

        start = time.perf_counter()
        roles = ("strength", role, "run", "common", "common")
        shape = (num, seeds.shape, *strengths)
        if shape not in self._compiled:
            mapped = sweep.strengths(self._program.epoch, num, *roles)
            epoch = jax.jit(mapped, donate_argnums=2)
            lowered = epoch.lower(strengths, epoch_keys[0], state, *self._data)
            self._compiled[shape] = lowered.compile()
        epoch = self._compiled[shape]
        compile_seconds = time.perf_counter() - start

        losses = []
        start = time.perf_counter()
        for keys_of_epoch in epoch_keys:
            state, latest = epoch(strengths, keys_of_epoch, state, *self._data)
            losses.append(jax.device_get(latest))
            after_epoch()
        seconds = time.perf_counter() - start
        if state.stopper is not None:
            state = state._replace(params=state.stopper.best_params, stopper=None)
        curves = Curves(*np.moveaxis(np.array(losses), 0, -1))
        return Training(state, curves, seconds, compile_seconds)


def _keys(seeds: Array, epochs: int) -> tuple[Array, Array]:
    """The keys that networks start from, and those of each epoch on the first axis."""
    flat = seeds.reshape(-1)
    init_keys, shuffle_keys = jax.vmap(jax.random.split, out_axes=1)(flat)
    epoch_keys = jax.vmap(jax.random.split, (0, None), 1)(shuffle_keys, epochs)
    return init_keys.reshape(seeds.shape), epoch_keys.reshape(epochs, *seeds.shape)


def train(
    method: Method,
    recipe: ImageRecipe,
    images: Images,
    seeds: Array,
    after_epoch: Callable[[], None],
    strengths: dict[str, Array] | None = None,
) -> Training:
    """Trains one network for each strength and seed, once: see :class:`Trainer`."""
    return Trainer(method, recipe, images)(seeds, after_epoch, strengths)
