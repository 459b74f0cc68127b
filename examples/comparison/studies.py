"""The studies: what ``compare_regularizers.py --study`` trains and measures.

Each trains all strengths and seeds of a method in one program. Where a strength is
chosen, validation images choose, and test images are shown to the chosen networks only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from comparison import sweep
from comparison.answers import MC_DROPOUT, WEIGHT_SCALING, Scores, evaluate
from comparison.method import Method
from comparison.representation import represent
from comparison.search import Search
from comparison.training import Budget, State, Training, seen_by, train
from comparison.verdicts import Outcome
from data import Images
from study.recipe import ImageRecipe

_FEW = 9  # methods in a figure that has a panel for each, beside the first


class Measured(NamedTuple):
    """Errors at every strength of a grid, on each split.

    Attributes:
      strengths: the grid, arrays ``(strengths,)`` by name.
      errors: by split, ``(strengths, seeds)``.
      nlls: negative log-likelihoods, likewise.
      seconds: what training took, without compilation.
      compile_seconds: what compilation took.
    """

    strengths: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    nlls: dict[str, np.ndarray]
    seconds: float
    compile_seconds: float


def by_strength(
    methods: Sequence[Method], recipe: ImageRecipe, images: Images, budget: Budget
) -> list[Outcome]:
    """Sweeps every method, chooses a strength on validation, reports on test."""
    outcomes = []
    with tqdm(total=len(methods) * recipe.epochs, unit="epoch") as bar:
        for method in methods:
            bar.set_description(method.name)
            seen = seen_by(method, recipe, images)
            outcomes.append(examine(method, recipe, seen, budget, bar.update))
    return outcomes


def examine(
    method: Method,
    recipe: ImageRecipe,
    images: Images,
    budget: Budget,
    after_epoch: Callable[[], None] = lambda: None,
) -> Outcome:
    """Sweeps one method, and judges it at the strength that validation prefers."""
    strengths = sweep.grid(**method.grid)
    training = train(method, recipe, images, budget.seeds, after_epoch, strengths)
    search = _search(training, strengths, images, budget)
    states, curves = sweep.at(training[:2], search.choice)
    scores = _test_scores(method, states, images, budget)
    networks = states._replace(opt_state=())
    return Outcome(
        method=method,
        curves=curves,
        scores=scores,
        seconds=training.seconds,
        search=search,
        representation=jax.device_get(represent(networks, images.validation.x)),
        compile_seconds=training.compile_seconds,
    )


def best(outcomes: list[Outcome]) -> list[Outcome]:
    """The first method and the few with the least validation error, in their order.

    A figure has room for these; tables have all.
    """
    first, *others = outcomes
    by_error = sorted(others, key=lambda o: o.search.error[o.search.choice].mean())
    few = {outcome.method.name for outcome in by_error[:_FEW]}
    return [first, *(outcome for outcome in others if outcome.method.name in few)]


def _test_scores(
    method: Method, states: State, images: Images, budget: Budget
) -> dict[str, Scores]:
    """Judges networks of one strength on test images, in all ways that differ."""
    scores = {WEIGHT_SCALING: evaluate(budget.test_keys, states, images.test)}
    if method.is_random:
        scores[MC_DROPOUT] = evaluate(
            budget.test_keys, states, images.test, num_samples=budget.num_samples
        )
    return scores


def _search(
    training: Training,
    strengths: dict[str, jax.Array],
    images: Images,
    budget: Budget,
) -> Search:
    """Judges every strength on validation images, by one pass without noise."""
    scores = [
        evaluate(budget.test_keys, sweep.at(training.states, index), images.validation)
        for index in range(sweep.size(strengths))
    ]
    error = np.stack([score.error for score in scores])
    nll = np.stack([score.nll for score in scores])
    return Search(_as_numpy(strengths), error, nll, sweep.choose(error, nll))


def _as_numpy(strengths: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """The same in the same order, which a map over a tree would sort."""
    return {name: np.asarray(values) for name, values in strengths.items()}


def measure(
    method: Method,
    strengths: dict[str, jax.Array],
    recipe: ImageRecipe,
    images: Images,
    budget: Budget,
) -> Measured:
    """Trains a method at every strength of a grid and measures it on all splits."""
    with tqdm(total=recipe.epochs, unit="epoch", desc=method.name) as bar:
        training = train(method, recipe, images, budget.seeds, bar.update, strengths)
    errors, nlls = {}, {}
    for name in ("train", "validation", "test"):
        scores = [
            evaluate(
                budget.test_keys, sweep.at(training.states, i), getattr(images, name)
            )
            for i in range(sweep.size(strengths))
        ]
        errors[name] = np.stack([score.error for score in scores])
        nlls[name] = np.stack([score.nll for score in scores])
    seconds = training.seconds, training.compile_seconds
    return Measured(_as_numpy(strengths), errors, nlls, *seconds)


def by_rate(
    dropout: Method,
    rates: tuple[float, ...],
    recipe: ImageRecipe,
    images: Images,
    budget: Budget,
) -> Measured:
    """Dropout at many rates: figure 9 (a) of Srivastava et al. (2014)."""
    images = seen_by(dropout, recipe, images)
    return measure(dropout, sweep.grid(rate=rates), recipe, images, budget)


def table_9(methods: Mapping[str, Method]) -> list[Method]:
    """The methods of table 9 of the same paper that need no other network."""
    norms, rates = (1.0, 1.5, 2.0), (0.2, 0.35, 0.5)
    grids = {
        "none": {},
        "l2-penalty": {"l2": (1e-4, 1e-3, 3e-3)},
        "max-norm": {"max_norm": norms},
        "dropout": {"rate": rates},
        "dropout+l2": {"rate": rates[1:], "l2": (1e-5, 1e-4)},
        "dropout+max-norm": {"rate": rates[1:], "max_norm": norms[:2]},
    }
    return [replace(methods[key], grid=grid) for key, grid in grids.items()]
