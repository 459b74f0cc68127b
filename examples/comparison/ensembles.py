"""Monte-Carlo dropout and deep ensembles, at the same compute.

An ensemble of five networks is trained five times as long as one network, and takes
five passes to predict. So one network with dropout is trained five times as long as
well, and asked five times: which of the two is better calibrated, and which knows more
about images that belong to no class? Lakshminarayanan, Pritzel, Blundell, "Simple and
scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017,
https://arxiv.org/abs/1612.01474; their adversarial training is left out.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from tqdm import tqdm

from comparison import answers, sweep
from comparison.answers import Answers
from comparison.method import Method
from comparison.methods import METHODS
from comparison.training import State, seen_by, train
from data import Images
from study.calibration import resampled_ece
from study.gains import Gain, gains
from study.recipe import ImageRecipe

MEMBERS = 5
ENSEMBLE = f"ensemble of {MEMBERS}"
MC_AS_LONG = f"MC dropout, {MEMBERS} passes, trained as long"
_NONE, _DROPOUT = (
    next(method for method in METHODS if method.key == key)
    for key in ("none", "dropout")
)


class Judged(NamedTuple):
    """How good a way to predict is; every array has the seeds as its first axis.

    Attributes:
      name: of the way.
      trainings: how long it is trained, in trainings of one network.
      passes: how many passes a prediction takes.
      wrong: for each test image whether its class is wrong, ``(seeds, images)``.
      nll: its negative log-likelihood, likewise.
      confidence: its largest probability, likewise.
      ece: the expected calibration error, ``(seeds,)``.
      by_entropy: the AUROC of the entropy against strange images, ``(seeds,)``.
      by_information: that of the mutual information; NaN of one pass.
    """

    name: str
    trainings: int
    passes: int
    wrong: np.ndarray
    nll: np.ndarray
    confidence: np.ndarray
    ece: np.ndarray
    by_entropy: np.ndarray
    by_information: np.ndarray


def strange(images: Images) -> np.ndarray:
    """Test images whose pixels are shuffled, each in its own way."""
    return np.random.default_rng(0).permuted(images.test.x, axis=1)


def compare(
    recipe: ImageRecipe,
    images: Images,
    others: np.ndarray,
    *,
    num_seeds: int,
    num_samples: int,
) -> list[Judged]:
    """Trains networks and ensembles, and judges them on test and on strange images.

    Args:
      recipe: how one network is trained.
      images: the data.
      others: images of no class, as they are in the data.
      num_seeds: how many networks there are, and how many ensembles.
      num_samples: how many passes the last row of Monte-Carlo dropout takes.

    Returns:
      What was found, for each way to predict.
    """
    pixels = images.train.x
    if recipe.standardize:
        others = (others - pixels.mean()) / pixels.std()
    seen = seen_by(_NONE, recipe, images)
    keys = jax.random.split(jax.random.key(0), num_seeds * MEMBERS)
    longer = replace(
        recipe, epochs=MEMBERS * recipe.epochs, decay=recipe.decay ** (1 / MEMBERS)
    )
    with tqdm(total=2 * recipe.epochs + longer.epochs, unit="epoch") as bar:
        run = partial(_trained, bar, seen)
        plain, noisy = (run(method, recipe, keys) for method in (_NONE, _DROPOUT))
        long = run(_DROPOUT, longer, keys[::MEMBERS])
    found = []
    for name, trainings, passes, ask in _ways(plain, noisy, long, num_samples):
        known, unknown = (ask(x) for x in (seen.test.x, others))
        judged = _judge(known, unknown, seen.test.y)
        found.append(Judged(name, trainings, passes, *judged))
    return found


def _trained(
    bar: tqdm, images: Images, method: Method, recipe: ImageRecipe, keys: Array
) -> State:
    bar.set_description(f"{method.name}, {recipe.epochs} epochs")
    states = train(method, recipe, images, keys, bar.update).states
    return sweep.at(states, 0)._replace(opt_state=(), stopper=None)


def _ways(plain: State, noisy: State, long: State, num_samples: int) -> Iterator[tuple]:
    """Name, trainings, passes, and what answers, of each row of the table."""
    first = partial(jax.tree.map, lambda leaf: leaf[::MEMBERS])
    yield "one network", 1, 1, partial(answers.by_one_pass, first(plain))
    yield "dropout", 1, 1, partial(answers.by_one_pass, first(noisy))
    counts = dict.fromkeys((MEMBERS, num_samples))
    for passes in counts:
        ask = partial(_samples, first(noisy), passes)
        yield f"MC dropout, {passes} passes", 1, passes, ask
    for passes in counts:
        name = f"MC dropout, {passes} passes, trained as long"
        yield name, MEMBERS, passes, partial(_samples, long, passes)
    yield ENSEMBLE, MEMBERS, MEMBERS, partial(_members, plain)
    name = f"{ENSEMBLE} with dropout"
    yield name, MEMBERS, MEMBERS, partial(_members, noisy)


def _members(states: State, x: np.ndarray) -> Answers:
    return answers.ensembles(answers.by_one_pass(states, x), MEMBERS)


def _samples(states: State, num_samples: int, x: np.ndarray) -> Answers:
    keys = jax.random.split(jax.random.key(1), len(states.step))
    return answers.by_samples(keys, states, x, num_samples)


def _judge(known: Answers, unknown: Answers, labels: np.ndarray) -> tuple:
    """The scores, in the order that they have in ``Judged``."""
    judged = answers.scores(known, labels)
    detected = (
        answers.auroc(known.entropy, unknown.entropy),
        answers.auroc(known.information, unknown.information),
    )
    losses, confidence = known.losses(labels), known.confidence
    return judged.wrong, losses, confidence, judged.ece, *detected


def advantage(found: list[Judged]) -> dict[str, Gain]:
    """What the ensemble gains over Monte-Carlo dropout that was trained as long.

    Returns:
      Gains by the name of the score, each with a 95 % interval of its own: over seeds
      and test images; over seeds alone for the AUROC.
    """
    by_name = {judged.name: judged for judged in found}
    ways = {name: by_name[name] for name in (MC_AS_LONG, ENSEMBLE)}
    tables = {
        "error": {name: judged.wrong for name, judged in ways.items()},
        "NLL": {name: judged.nll for name, judged in ways.items()},
        "ECE": {
            name: resampled_ece(judged.confidence, ~judged.wrong)
            for name, judged in ways.items()
        },
        "AUROC": {name: 1 - judged.by_entropy for name, judged in ways.items()},
    }
    return {score: gains(table)[0] for score, table in tables.items()}
