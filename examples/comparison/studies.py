"""The studies: what ``compare_regularizers.py --study`` trains and measures.

Each trains all strengths and seeds of a method in one program. Where a strength is
chosen, validation images choose, and test images are shown to the chosen networks only.
Tables are for the terminal; every number is in CSV and JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.table import Table
from tqdm import tqdm

from comparison import sweep
from comparison.answers import MC_DROPOUT, WEIGHT_SCALING, Scores, evaluate
from comparison.method import Method
from comparison.representation import represent
from comparison.search import Search
from comparison.training import Budget, State, Training, seen_by, train
from comparison.verdicts import Outcome
from data import Images
from study import files, gains, words
from study.gains import Gain
from study.recipe import ImageRecipe
from study.tables import new_table

_SPLITS = ("training", "validation", "test")
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


def show(strength: dict[str, float]) -> str:
    """A strength as it is read: ``rate 0.35, l2 1e-05``."""
    named = (
        f"{name.replace('_', ' ')} {value:.3g}" for name, value in strength.items()
    )
    return ", ".join(named) or "–"


def scores_table(outcomes: list[Outcome], *, title: str, num_samples: int) -> Table:
    """Test scores at the chosen strengths; MC dropout in a row of its own."""
    caption = (
        "Test scores, mean ± standard error over seeds, at the strength with the least "
        f"validation error. MC: the mean of {num_samples} passes with noise. zero: "
        "weights that are exactly 0. s: seconds to train all strengths and seeds."
    )
    rows = [
        (outcome, scores, way == WEIGHT_SCALING)
        for outcome in outcomes
        for way, scores in outcome.scores.items()
    ]
    columns = (
        [outcome.method.name if first else "" for outcome, _, first in rows],
        [show(o.search.chosen) if first else "MC" for o, _, first in rows],
        words.with_errors([scores.error for _, scores, _ in rows], scale=100),
        words.with_errors([scores.nll for _, scores, _ in rows]),
        words.with_errors([scores.ece for _, scores, _ in rows], scale=100),
        [
            f"{100 * o.representation.zeros.mean():.1f}" if first else ""
            for o, _, first in rows
        ],
        [f"{outcome.seconds:.0f}" if first else "" for outcome, _, first in rows],
    )
    headings = ("method", "strength", "error %", "NLL", "ECE %", "zero %", "s")
    return new_table(title, headings, caption=caption, columns=columns)


def gains_over_first(outcomes: list[Outcome]) -> list[Gain]:
    """What each method gains over the first in test error, corrected for their number.

    Test images are resampled with the seeds; the choice of strengths is not.
    """
    return gains.gains(
        {o.method.name: o.scores[WEIGHT_SCALING].wrong for o in outcomes}
    )


def conclusion(outcomes: list[Outcome], *, where: str) -> str:
    """Which method to use, and how sure that is."""
    errors = {o.method.name: o.scores[WEIGHT_SCALING].wrong for o in outcomes}
    subject = words.Subject(where=where, baseline=outcomes[0].method.name)
    return words.verdict(errors, subject)


def representation_table(outcomes: list[Outcome]) -> Table:
    """What the chosen networks look like inside."""
    caption = (
        "Means over hidden layers and seeds, on validation images, without noise. "
        "dead: units that no image activates. off: activations that are 0. activity: "
        "the mean modulus of activations. co-adaptation: the mean modulus of the "
        "correlation of two units. weight: the root mean square of weights."
    )
    inside = [outcome.representation for outcome in outcomes]
    columns = (
        [outcome.method.name for outcome in outcomes],
        words.with_errors([one.dead for one in inside], scale=100),
        words.with_errors([one.sparsity for one in inside], scale=100),
        words.with_errors([one.activity for one in inside]),
        words.with_errors([one.co_adaptation for one in inside]),
        words.with_errors([one.weight for one in inside]),
    )
    headings = ("method", "dead %", "off %", "activity", "co-adaptation", "weight")
    return new_table("Representations", headings, caption=caption, columns=columns)


def rate_table(measured: Measured, *, title: str) -> Table:
    """Errors at each rate, on all splits."""
    caption = "Errors in percent, mean ± standard error over seeds."
    columns = (
        [f"{rate:.2g}" for rate in measured.strengths["rate"]],
        *(words.with_errors(by, scale=100) for by in measured.errors.values()),
        words.with_errors(measured.nlls["test"]),
    )
    headings = ("rate", *_SPLITS, "test NLL")
    return new_table(title, headings, caption=caption, columns=columns)


def write_scores(path: Path, outcomes: list[Outcome]) -> None:
    """Writes one row for each method, way to predict, and seed."""
    inside = ("dead", "sparsity", "activity", "co_adaptation", "weight", "zeros")
    header = ("method", "strength", "prediction", "seed", "error", "nll", "ece")
    rows = [
        (o.method.name, show(o.search.chosen), prediction, seed, *row, o.seconds)
        for o in outcomes
        for prediction, scores in o.scores.items()
        for seed, row in enumerate(zip(*scores[:3], *o.representation, strict=True))
    ]
    files.write_csv(path, (*header, *inside, "train_seconds"), rows)


def write_measured(path: Path, measured: Measured) -> None:
    """Writes one row for each strength and seed, with the errors on all splits."""
    scores = [f"{name}_{score}" for score in ("error", "nll") for name in measured.nlls]
    tables = (*measured.errors.values(), *measured.nlls.values())
    rows = [
        (*strength, seed, *(table[index, seed] for table in tables))
        for index, strength in enumerate(zip(*measured.strengths.values(), strict=True))
        for seed in range(tables[0].shape[1])
    ]
    files.write_csv(path, (*measured.strengths, "seed", *scores), rows)


def as_record(outcome: Outcome) -> dict[str, Any]:
    """What is kept of an outcome: all numbers but its curves' and its bins'."""
    return {
        "method": outcome.method.name,
        "strengths": outcome.search.strengths,
        "validation_error": outcome.search.error,
        "validation_nll": outcome.search.nll,
        "chosen": outcome.search.chosen,
        "test": {
            prediction: {"error": scores.error, "nll": scores.nll, "ece": scores.ece}
            for prediction, scores in outcome.scores.items()
        },
        "representation": outcome.representation._asdict(),
        "train_seconds": outcome.seconds,
        "compile_seconds": outcome.compile_seconds,
    }
