"""The comparison itself: every method at a strength that validation images choose."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from comparison import answers, figures, report, search, verdict_report
from comparison.answers import Answers
from comparison.method import Method
from comparison.panel import Row
from comparison.report import MC_DROPOUT, WEIGHT_SCALING, Outcome
from comparison.studies import Budget
from comparison.training import State, Trainer, seen_by
from comparison.verdicts import Verdicts, ranked
from data import Images
from study.files import save
from study.recipe import ImageRecipe

_QUESTIONS = 0.2  # of a training: about the time that predictions take


def compare(
    methods: list[Method],
    recipe: ImageRecipe,
    images: Images,
    strange: np.ndarray,
    budget: Budget,
    *,
    search_seeds: int | None,
) -> list[Outcome]:
    """Trains and judges every method from the same seeds.

    Args:
      methods: the methods.
      recipe: what they share.
      images: the data.
      strange: images of no class, ``(n, pixels)``, scaled as the data are.
      budget: how many networks each method trains in the end, and samples.
      search_seeds: how many networks each strength trains that is tried; None for the
        usual strengths.

    Returns:
      The outcomes, with the answers to test images and to strange ones.
    """
    asking = math.ceil(_QUESTIONS * recipe.epochs)
    work = {
        method.name: asking
        + recipe.epochs * (1 + (search.num_trials(method) if search_seeds else 0))
        for method in methods
    }
    outcomes = []
    with tqdm(total=sum(work.values()), unit="epoch") as bar:
        for method in methods:
            seen = seen_by(method, recipe, images)
            shown = strange
            if seen is not images:
                pixels = images.train.x
                shown = (strange - pixels.mean()) / pixels.std()
            outcome = _examine(method, recipe, seen, shown, budget, search_seeds, bar)
            outcomes.append(outcome)
            bar.update(asking)
    return outcomes


def write(
    output: Path,
    outcomes: list[Outcome],
    judged: Verdicts,
    rows: list[Row],
    *,
    title: str,
    conclusion: str,
    about: dict[str, Any],
) -> None:
    """Writes every number in CSV and JSON, and three figures.

    Args:
      output: the folder.
      outcomes: of all methods.
      judged: their gains.
      rows: what predictions know.
      title: of the figures.
      conclusion: in words.
      about: what else the JSON file says.
    """
    ordered = ranked(outcomes, judged)
    report.write_csv(output / "results.csv", outcomes)
    verdict_report.write_json(
        output / "gains.json",
        ordered,
        judged,
        rows,
        title=title,
        conclusion=conclusion,
        about=about,
    )
    for name, figure in (
        ("gains", figures.gains(ordered, judged, title=title)),
        ("learning_curves", figures.learning_curves(outcomes, title=title)),
        ("reliability_diagrams", figures.reliability_diagrams(outcomes, title=title)),
    ):
        save(figure, output / f"{name}.png")
    print(f"Wrote results.csv, gains.json and three figures to {output}.")


def _examine(
    method: Method,
    recipe: ImageRecipe,
    images: Images,
    strange: np.ndarray,
    budget: Budget,
    search_seeds: int | None,
    bar: tqdm,
) -> Outcome:
    planned = bar.n + recipe.epochs * search.num_trials(method)

    def announce(text: str) -> object:
        bar.set_description(text)
        if bar.n >= planned:  # an extension, which was not counted
            bar.total += recipe.epochs
        return bar.update

    trainer = Trainer(method, recipe, images)
    found, chosen, seconds = None, {}, 0.0
    if search_seeds and method.grid:
        found, seconds = search.choose(
            method, recipe, trainer, images.validation, search_seeds, announce
        )
        chosen = found.chosen
    bar.set_description(method.name)
    training = search.final(trainer, chosen, budget.num_seeds, bar.update)
    asked = _ask(method, training.states, images.test.x, strange, budget)
    number = len(images.test.y)
    return Outcome(
        method=method,
        curves=training.curves,
        scores={
            way: answers.scores(answer.split(number)[0], images.test.y)
            for way, answer in asked.items()
        },
        seconds=training.seconds,
        search=found,
        compile_seconds=training.compile_seconds,
        search_seconds=seconds,
        answers={way: answer.split(number) for way, answer in asked.items()},
    )


def _ask(
    method: Method, states: State, test: np.ndarray, strange: np.ndarray, budget: Budget
) -> dict[str, Answers]:
    """The answers to test images and then to strange ones, in all ways that differ."""
    x = np.concatenate([test, strange])
    asked = {WEIGHT_SCALING: answers.by_one_pass(states, x)}
    if method.is_random:
        asked[MC_DROPOUT] = answers.by_samples(
            budget.test_keys, states, x, budget.num_samples
        )
    return asked
