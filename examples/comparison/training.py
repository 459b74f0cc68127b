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
from jax import Array, lax

from comparison import sweep
from comparison.method import Method, Network
from data import Images, Split
from jaxdrop import keys, metrics
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
    def model(self) -> Network:
        """The network. It is a copy: its streams go on without those of the state."""
        return nnx.merge(self.graphdef, self.params, self.streams, copy=True)


class Curves(NamedTuple):
    """Cross-entropies of the network without noise, ``(strengths, seeds, epochs)``."""

    train: np.ndarray
    validation: np.ndarray


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
    """Training as pure functions, of one strength and seed; to be mapped over both."""

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

    def optimizer(self, method: Method) -> optax.GradientTransformation:
        """The optimizer of the method, at the learning rate of the recipe."""
        recipe = self.recipe
        return method.optimizer(
            optax.exponential_decay(
                recipe.learning_rate, self.num_steps, recipe.decay, staircase=True
            )
        )

    def init(self, strength: Mapping[str, Array], key: Array) -> State:
        """A network that is not trained yet."""
        method = self.at(strength)
        sizes = (self.num_pixels, *self.recipe.hidden, NUM_CLASSES)
        model = method.network(sizes, nnx.Rngs(key))
        graphdef, params, streams = nnx.split(model, nnx.Param, ...)
        opt_state = self.optimizer(method).init(params)
        stopper = None
        if method.patience is not None:
            stopper = EarlyStopping(patience=method.patience, best_params=params)
        return State(graphdef, params, streams, opt_state, jnp.int32(0), stopper)

    def step(self, method: Method, key: Array, state: State, batch: Split) -> State:
        """One step of the optimizer."""
        x, targets = method.examples(
            keys.site(key, "examples", step=state.step), batch.x, batch.y
        )

        def loss_of(params: nnx.State) -> tuple[Array, nnx.State]:
            model = state._replace(params=params).model
            method.set_rates(model, state.step, self.recipe.epochs * self.num_steps)
            loss = method.loss(model, x, targets)
            return loss, nnx.state(model, nnx.Not(nnx.Param))

        grads, streams = jax.grad(loss_of, has_aux=True)(state.params)
        optimizer = self.optimizer(method)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(
            params=params, streams=streams, opt_state=opt_state, step=state.step + 1
        )

    def epoch(
        self,
        strength: Mapping[str, Array],
        key: Array,
        state: State,
        train: Split,
        watched: tuple[Split, ...],
    ) -> tuple[State, tuple[Array, ...]]:
        """Sees every training image once, in an order drawn from ``key``."""
        method = self.at(strength)
        state, _ = lax.scan(
            lambda state, rows: (self.step(method, key, state, train.take(rows)), None),
            state,
            self.batches(strength, key),
        )
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


class Trainer:
    """Trains networks of one method; calls with as many runs share a compiled program.

    Args:
      method: how to regularize.
      recipe: how to train.
      images: the data; the test split is not looked at.
    """

    def __init__(self, method: Method, recipe: ImageRecipe, images: Images) -> None:
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
        init_keys, epoch_keys = _keys(seeds, self._program.recipe.epochs)
        role = "seed" if seeds.ndim == 1 else "run"
        num = sweep.size(strengths) if seeds.ndim == 1 else len(seeds)
        init = sweep.runs(self._program.init, num, "strength", role)
        state = init(strengths, init_keys)  # not jitted: methods share its pieces

        start = time.perf_counter()
        roles = ("strength", role, "run", "common", "common")
        shape = (num, seeds.shape, *strengths)
        if shape not in self._compiled:
            mapped = sweep.runs(self._program.epoch, num, *roles)
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
