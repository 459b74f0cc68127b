"""Training: several networks in one program, which is called once a round.

The rates of all dropout are arguments of the program. So a schedule, other strengths
and no dropout at all run by the same compiled code.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxdrop
from data import DataError, Text
from jaxdrop import constraints
from jaxdrop.early_stopping import EarlyStopping
from study.recipe import Recipe
from text.windows import (
    Windows,
    bits_per_character,
    one_pass,
    random_windows,
    scoring_windows,
    windows_at,
)

Build = Callable[[nnx.Rngs], nnx.Module]


@dataclass(frozen=True, kw_only=True)
class TextRecipe(Recipe):
    """What all methods share; batches are of windows, and AdamW's rate falls to 0.

    Attributes:
      rounds: how often validation text is scored.
      steps: of the optimizer in a round.
      length: the number of characters of a window.
      context: how many there are at least before a character that is scored.
      weight_decay: of AdamW, which multiplies it by the learning rate.
      one_pass: whether each character is a target at most once, in windows that do not
        overlap; otherwise windows are at random places.
    """

    rounds: int
    steps: int
    length: int
    context: int
    weight_decay: float = 0.0
    one_pass: bool = False

    @property
    def num_steps(self) -> int:
        """All steps of the optimizer."""
        return self.rounds * self.steps

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW, which shrinks weights, but no bias, scale or embedding."""
        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, self.num_steps // 20, self.num_steps
        )
        decay = self.weight_decay
        adam = optax.adamw(rate, weight_decay=decay, mask=constraints.decay_mask)
        return optax.chain(optax.clip_by_global_norm(1.0), adam)


def of_one_pass(recipe: TextRecipe, text: Text, rounds: int) -> TextRecipe:
    """The recipe with as many steps in these rounds as one pass over the text has.

    Raises:
      DataError: if one pass has fewer steps than there are rounds.
    """
    most = (len(text.train) - 1) // recipe.length // recipe.batch_size
    if rounds > most:
        raise DataError(
            f"One pass over {len(text.train)} characters has {most} steps: train on "
            f"more, or take at most {most} rounds, got {rounds}."
        )
    return replace(recipe, rounds=rounds, steps=most // rounds, one_pass=True)


class State(NamedTuple):
    """A network and its optimizer: what a training step changes."""

    graphdef: nnx.GraphDef
    params: nnx.State
    rates: nnx.State  # at full strength
    streams: nnx.State  # from which dropout takes its keys
    opt_state: optax.OptState
    best: EarlyStopping  # the parameters with the best validation score

    def network(self, params: nnx.State, strength: Array | float = 1.0) -> nnx.Module:
        """The network with these parameters and a share of its rates."""
        rates = jax.tree.map(lambda rate: rate * strength, self.rates)
        return nnx.merge(self.graphdef, params, rates, self.streams, copy=True)


class Curves(NamedTuple):
    """Bits per character of the network without noise, ``(runs, rounds)``.

    Attributes:
      train: of the last part of the training text, as long as the validation text.
      validation: of the validation text.
    """

    train: np.ndarray
    validation: np.ndarray


class Scores(NamedTuple):
    """Bits per character of the test text, ``(runs,)``, by two sets of parameters."""

    best: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Program:
    """Training as pure functions, of one run; to be vmapped over runs.

    Attributes:
      build: makes a network; of a key and nothing else.
      recipe: how to train.
      mesh: the devices, with one axis: each computes its part of a batch.
    """

    build: Build
    recipe: TextRecipe
    mesh: Mesh

    def init(self, key: Array) -> State:
        """A network that is not trained yet."""
        parts = nnx.split(
            self.build(nnx.Rngs(key)), nnx.Param, jaxdrop.nnx.Rate, nnx.RngState
        )
        opt_state = self.recipe.optimizer().init(parts[1])
        best = EarlyStopping(patience=self.recipe.rounds + 1, best_params=parts[1])
        return State(*parts, opt_state, best)

    def starts(self, key: Array, num_characters: int) -> Array | None:
        """Where the windows of all steps begin; None for random ones."""
        recipe = self.recipe
        if not recipe.one_pass:
            return None
        return one_pass(
            key,
            num_characters,
            steps=recipe.num_steps,
            count=recipe.batch_size,
            length=recipe.length,
        ).reshape(recipe.rounds, recipe.steps, recipe.batch_size)

    def step(
        self,
        state: State,
        key: Array,
        strength: Array,
        starts: Array | None,
        ids: Array,
    ) -> State:
        """One step of the optimizer; without ``starts``, on windows from ``key``."""
        recipe = self.recipe
        if starts is None:
            windows = random_windows(
                key, ids, count=recipe.batch_size, length=recipe.length
            )
        else:
            windows = windows_at(starts, ids, length=recipe.length)
        windows = lax.with_sharding_constraint(windows, over(self.mesh))

        def loss_of(params: nnx.State) -> tuple[Array, nnx.State]:
            network = state.network(params, strength)
            loss = bits_per_character(network(windows.inputs), windows) * math.log(2)
            return loss, nnx.state(network, nnx.RngState)

        grads, streams = jax.grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = recipe.optimizer().update(
            grads, state.opt_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, streams=streams, opt_state=opt_state)

    def round(
        self,
        key: Array,
        strengths: Array,
        starts: Array | None,
        state: State,
        ids: Array,
        watched: tuple[Windows, Windows],
    ) -> tuple[State, tuple[Array, Array]]:
        """Some steps, one for each strength; then a look at both texts."""
        keys = jax.random.split(key, len(strengths))
        state, _ = lax.scan(
            lambda state, xs: (self.step(state, *xs, ids), None),
            state,
            (keys, strengths, starts),
        )
        train, validation = score(state, state.params, watched)
        best = state.best.update(validation, state.params)
        return state._replace(best=best), (train, validation)


def score(state: State, params: nnx.State, parts: tuple[Windows, ...]) -> list[Array]:
    """Bits per character of each part, by a network without noise."""
    network = state.network(params)
    network.eval()
    logits = network(jnp.concatenate([part.inputs for part in parts]))
    ends = np.cumsum([len(part.inputs) for part in parts])
    return [
        bits_per_character(piece, part)
        for piece, part in zip(jnp.split(logits, ends[:-1]), parts, strict=True)
    ]


def over(mesh: Mesh) -> NamedSharding:
    """Shares the first axis of an array among all devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


class Trainer:
    """Trains networks of several runs at once, any number of times.

    Args:
      build: makes a network.
      recipe: how to train.
      text: what to learn.
      seeds: one key for each run.
      devices: which to use; as many as the batch can be shared among.

    Attributes:
      num_traces: how often the program was traced, and compiled: once.
    """

    def __init__(
        self,
        build: Build,
        recipe: TextRecipe,
        text: Text,
        seeds: Array,
        devices: list[jax.Device] | None = None,
    ) -> None:
        devices = jax.devices() if devices is None else devices
        count = math.gcd(len(devices), recipe.batch_size)
        self.program = Program(build, recipe, Mesh(devices[:count], ("batch",)))
        self.everywhere = NamedSharding(self.program.mesh, PartitionSpec())
        self.recipe, self.seeds, self.num_traces = recipe, seeds, 0
        self._program: jax.stages.Compiled | None = None
        jit = partial(jax.jit, out_shardings=self.everywhere)
        self._init = jit(jax.vmap(self.program.init))
        self._score = jit(jax.vmap(score, in_axes=(0, 0, None)))
        self._round = jit(jax.vmap(self._traced, in_axes=(0, 0, 0, 0, None, None)))
        self.ids = jax.device_put(text.train, self.everywhere)
        watched = text.train[-len(text.validation) :]
        self.watched = self._windows(watched), self._windows(text.validation)
        self.test = self._windows(text.test)

    def run(
        self, strengths: np.ndarray, after_round: Callable[[], None]
    ) -> tuple[State, Curves, float]:
        """Trains from the start.

        Args:
          strengths: ``(runs, steps)``: the share of its rates that a network has at
            each step.
          after_round: is called after each round, to move a progress bar.

        Returns:
          The states, whose arrays have the runs as their first axis; the curves; and
          the seconds that training took, without compilation.
        """
        init_keys, round_keys = jax.vmap(jax.random.split, out_axes=1)(self.seeds)
        round_keys = jax.vmap(jax.random.split, (0, None), 1)(
            round_keys, self.recipe.rounds
        )
        state = self._init(init_keys)
        shape = len(self.seeds), self.recipe.rounds, self.recipe.steps
        by_round = np.asarray(strengths, np.float32).reshape(shape).swapaxes(0, 1)
        starts = jax.vmap(self.program.starts, in_axes=(0, None))(
            init_keys, len(self.ids)
        )
        all_starts = [None] * shape[1] if starts is None else starts.swapaxes(0, 1)
        rounds = [
            jax.device_put(each, self.everywhere)
            for each in zip(round_keys, by_round, all_starts, strict=True)
        ]
        advance = self._compiled(*rounds[0], state)
        bits, start = [], time.perf_counter()
        for each in rounds:
            state, latest = advance(*each, state, self.ids, self.watched)
            bits.append(jax.device_get(latest))
            after_round()
        seconds = time.perf_counter() - start
        return state, Curves(*np.moveaxis(np.array(bits), 0, 2)), seconds

    def test_scores(self, state: State) -> Scores:
        """Judges the parameters with the best validation score, and the last."""
        both = state.best.best_params, state.params
        scores = [self._score(state, params, (self.test,))[0] for params in both]
        return Scores(*jax.device_get(scores))

    def _windows(self, ids: np.ndarray) -> Windows:
        """What scores a text, each device its part."""
        recipe, mesh = self.recipe, self.program.mesh
        windows = scoring_windows(
            ids, length=recipe.length, context=recipe.context, multiple=mesh.size
        )
        return jax.device_put(windows, over(mesh))

    def _compiled(self, *of_round: Any) -> jax.stages.Compiled:
        """The program of a round. It fits every strength, so it is made only once."""
        if self._program is None:
            lowered = self._round.lower(*of_round, self.ids, self.watched)
            self._program = lowered.compile()
        return self._program

    def _traced(self, *args: Any) -> Any:
        """A round, counted whenever JAX traces it."""
        self.num_traces += 1
        return self.program.round(*args)
