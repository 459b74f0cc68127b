"""The choice of strengths on validation images, one field of a method at a time.

Each field is tried on a small grid with few seeds, while the others stay; where the
best value is at an end of its grid, the grid is extended there once. Trials have
equally many runs, and share a compiled program. The final networks are runs of it as
well if there are as many of them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from comparison import sweep
from comparison.answers import evaluate
from comparison.method import FIELDS, Method
from comparison.training import Budget, Trainer, Training
from data import Split
from study.recipe import ImageRecipe

TRIALS = 5  # values in a trial of one field
_SHARES = ("rate", "label_smoothing")  # from 0 to 1


class Search(NamedTuple):
    """What a sweep has found on validation images.

    Attributes:
      strengths: the grid, arrays ``(strengths,)`` by name.
      error: the share of wrong classes, ``(strengths, seeds)``.
      nll: the negative log-likelihood, likewise.
      choice: the index of the chosen strength.
      seconds: what training took, if it was for the choice alone.
    """

    strengths: dict[str, np.ndarray]
    error: np.ndarray
    nll: np.ndarray
    choice: int
    seconds: float = 0.0

    def tried(self, name: str) -> tuple[float, ...]:
        """The values of one field that were tried, ascending."""
        return tuple(sorted(set(self.strengths[name].tolist())))

    @property
    def chosen(self) -> dict[str, float]:
        """The chosen strength, by name."""
        return {
            name: float(values[self.choice]) for name, values in self.strengths.items()
        }

    def at_edge(self) -> list[str]:
        """The fields whose choice is the smallest or the largest that was tried."""
        ends = {name: self.tried(name) for name in self.strengths}
        return [
            name
            for name, value in self.chosen.items()
            if value in (ends[name][0], ends[name][-1])
        ]


def fields(method: Method) -> dict[str, tuple[float, ...]]:
    """The values that are tried of each field, in the order of the trials."""
    if len(method.grid) == 1:
        return {name: values[:TRIALS] for name, values in method.grid.items()}
    return {
        name: FIELDS.get(name, values)[:TRIALS] for name, values in method.grid.items()
    }


def usual(method: Method, recipe: ImageRecipe) -> dict[str, float]:
    """The strength that a method has without a search."""
    rate = (method.rates or recipe.rates)[1]
    return {
        name: float(rate if name == "rate" else getattr(method, name))
        for name in method.grid
    }


def choose(
    trainer: Trainer, validation: Split, num_seeds: int | None, bar: tqdm
) -> Search | None:
    """Tries the fields of a method in turn.

    Args:
      trainer: trains the method.
      validation: the images that choose.
      num_seeds: how many networks each strength trains, other ones than in the end;
        None for the usual strength.
      bar: moves with each epoch.

    Returns:
      All trials; None where nothing is tried.
    """
    method, recipe = trainer.method, trainer.recipe
    if not num_seeds or not method.grid:
        return None
    seeds = jax.random.split(jax.random.key(2), num_seeds)
    chosen, trials = usual(method, recipe), []
    for name, values in fields(method).items():
        bar.set_description(f"{method.name}, {name.replace('_', ' ')}")
        for stage in ("grid", "extension"):
            tried = {**{n: [v] * len(values) for n, v in chosen.items()}, name: values}
            training = _train(trainer, tried, seeds, bar.update)
            trials.append(_judge(training, tried, validation))
            search = _merge(trials)
            chosen = search.chosen
            further = extended(name, search.tried(name), chosen[name])
            if stage == "extension" or not further:
                break
            values = further
            bar.total += recipe.epochs
    return search


def extended(name: str, tried: Sequence[float], chosen: float) -> tuple[float, ...]:
    """The values beyond the end of a grid, if the chosen one is its end.

    They go on as the last two go: by a factor, which for shares is one of the odds.
    """
    values = sorted(set(tried))
    if chosen not in (values[0], values[-1]) or len(values) < 2:
        return ()
    neighbour = values[1] if chosen == values[0] else values[-2]
    end, before = (v / (1 - v) if name in _SHARES else v for v in (chosen, neighbour))
    if not end:
        return ()
    beyond = [end * (end / before) ** power for power in range(1, TRIALS + 1)]
    if name in _SHARES:
        beyond = [v / (1 + v) for v in beyond]
    return tuple(float(f"{value:.2g}") for value in beyond)


def final(
    trainer: Trainer, search: Search | None, budget: Budget, bar: tqdm
) -> Training:
    """Trains all networks of the chosen strength; arrays have one axis, of seeds."""
    bar.set_description(trainer.method.name)
    seeds, chosen = budget.seeds, search.chosen if search else {}
    tried = {name: [value] * len(seeds) for name, value in chosen.items()}
    training = _train(trainer, tried, seeds[:, None], bar.update)
    states, curves = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), training[:2]
    )
    return training._replace(states=states, curves=curves)


def _train(
    trainer: Trainer,
    tried: dict[str, Sequence[float]],
    seeds: Array,
    after_epoch: Callable[[], None],
) -> Training:
    """Trains every strength from every seed, as runs that have one strength each.

    Args:
      trainer: trains them.
      tried: the values of each field, equally many.
      seeds: ``(seeds,)``; or ``(strengths, 1)``, a seed of its own for each strength.
      after_epoch: is called after each epoch.
    """
    if seeds.ndim == 1:
        seeds = jnp.tile(seeds, (len(next(iter(tried.values()))), 1))
    num, per_strength = seeds.shape
    strengths = {
        name: jnp.repeat(jnp.asarray(values, jnp.float32), per_strength)
        for name, values in tried.items()
    }
    training = trainer(seeds.reshape(-1, 1), after_epoch, strengths)
    states, curves = jax.tree.map(
        lambda leaf: leaf.reshape(num, per_strength, *leaf.shape[2:]), training[:2]
    )
    return training._replace(states=states, curves=curves)


def _judge(
    training: Training, tried: dict[str, Sequence[float]], validation: Split
) -> Search:
    """Judges all networks of a trial by one pass without noise."""
    num, per_strength = training.curves.train.shape[:2]
    keys = jax.random.split(jax.random.key(1), num * per_strength)  # not needed
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), training.states)
    scores = evaluate(keys, flat, validation)
    error, nll = (np.asarray(score).reshape(num, per_strength) for score in scores[:2])
    values = {name: np.asarray(tried[name], float) for name in tried}
    choice = sweep.choose(error, nll)
    return Search(values, error, nll, choice, training.seconds)


def _merge(trials: Sequence[Search]) -> Search:
    """All trials as one; the best of all is chosen."""
    strengths = {
        name: np.concatenate([trial.strengths[name] for trial in trials])
        for name in trials[0].strengths
    }
    error = np.concatenate([trial.error for trial in trials])
    nll = np.concatenate([trial.nll for trial in trials])
    seconds = sum(trial.seconds for trial in trials)
    return Search(strengths, error, nll, sweep.choose(error, nll), seconds)


def progress(
    methods: Sequence[Method], recipe: ImageRecipe, num_seeds: int | None
) -> tqdm:
    """A bar for the epochs of all methods, to which extensions of grids are added."""
    trials = sum(len(fields(method)) for method in methods) if num_seeds else 0
    return tqdm(total=recipe.epochs * (len(methods) + trials), unit="epoch")
