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
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from matplotlib.figure import Figure
from rich.table import Table
from tqdm import tqdm

from comparison import answers, sweep
from comparison.answers import Answers
from comparison.method import Method
from comparison.training import State, scaled_as, seen_by, train
from comparison.verdicts import MEMBERS
from data import Images
from jaxdrop import plots
from study import files, gains, words
from study.calibration import resampled_ece
from study.gains import Gain
from study.recipe import ImageRecipe
from study.tables import new_table

ENSEMBLE = f"ensemble of {MEMBERS}"
MC_AS_LONG = f"MC dropout, {MEMBERS} passes, trained as long"
_SCORES = ("error", "nll", "ece", "auroc_entropy", "auroc_information")


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


def compare(
    none: Method,
    dropout: Method,
    recipe: ImageRecipe,
    images: Images,
    others: np.ndarray,
    *,
    num_seeds: int,
    num_samples: int,
) -> list[Judged]:
    """Trains networks and ensembles, and judges them on test and on strange images.

    Args:
      none: no dropout.
      dropout: dropout.
      recipe: how one network is trained.
      images: the data.
      others: images of no class, as they are in the data.
      num_seeds: how many networks there are, and how many ensembles.
      num_samples: how many passes the last row of Monte-Carlo dropout takes.

    Returns:
      What was found, for each way to predict.
    """
    seen = seen_by(none, recipe, images)
    others = scaled_as(seen, images, others)
    keys = jax.random.split(jax.random.key(0), num_seeds * MEMBERS)
    longer = replace(
        recipe, epochs=MEMBERS * recipe.epochs, decay=recipe.decay ** (1 / MEMBERS)
    )
    with tqdm(total=2 * recipe.epochs + longer.epochs, unit="epoch") as bar:
        run = partial(_trained, bar, seen)
        plain, noisy = (run(method, recipe, keys) for method in (none, dropout))
        long = run(dropout, longer, keys[::MEMBERS])
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
    return {score: gains.gains(table)[0] for score, table in tables.items()}


def scores_of(judged: Judged) -> dict[str, np.ndarray]:
    """The scores of each seed, by name; the last is NaN of one pass."""
    columns = (
        judged.wrong.mean(1),
        judged.nll.mean(1),
        judged.ece,
        judged.by_entropy,
        judged.by_information,
    )
    return dict(zip(_SCORES, columns, strict=True))


def table(found: list[Judged], *, title: str) -> Table:
    """Test scores of all ways to predict."""
    num_seeds = len(found[0].ece)
    caption = (
        f"Means over {num_seeds} networks or ensembles ± their standard error over "
        "these. Training and passes in units of one network. AUROC: the chance that a "
        "strange image has a higher score (H: entropy, I: mutual information)."
    )
    headings = ("training", "passes", "error %", "NLL", "ECE %", "AUROC H", "AUROC I")
    columns = [
        [judged.name for judged in found],
        [f"{judged.trainings}" for judged in found],
        [f"{judged.passes}" for judged in found],
    ]
    for score, scale in zip(_SCORES, (100, 1, 100, 1, 1), strict=True):
        values = [scores_of(judged)[score] for judged in found]
        known = [None if np.isnan(each).any() else each for each in values]
        columns.append(words.with_errors(known, scale=scale))
    return new_table(title, ("", *headings), caption=caption, columns=columns)


def conclusion(found: list[Judged]) -> str:
    """Whether the ensemble is better than Monte-Carlo dropout of the same compute."""
    found_gains = advantage(found)
    if any(gain.verdict == gains.TOO_FEW for gain in found_gains.values()):
        return "No conclusion: at least three seeds are needed."
    parts = []
    tested = gains.together([*found_gains.values()])
    for score, gain in zip(found_gains, tested, strict=True):
        scale, unit = (100, " points") if score in ("error", "ECE") else (1, "")
        ((shown, interval),) = words.intervals([gain], scale=scale)
        parts.append(f"{score} {shown}{unit} ({interval}): {gain.verdict}")
    return (
        f"What an {ENSEMBLE} gains over {MC_AS_LONG}, with 95 % intervals, each by "
        f"itself, and verdicts corrected for {words.count(len(parts), 'score')}: "
        f"{'; '.join(parts)}. AUROC: of the entropy, over seeds alone."
    )


def records(found: list[Judged]) -> list[dict[str, Any]]:
    """What is kept of each way; nothing in the place of NaN."""
    kept = []
    for judged in found:
        scores = scores_of(judged)
        known = {name: s for name, s in scores.items() if not np.isnan(s).any()}
        head = {name: getattr(judged, name) for name in ("name", "trainings", "passes")}
        kept.append({**head, "scores": known})
    return kept


def advantages(found: list[Judged]) -> dict[str, Any]:
    """The gains of :func:`advantage` as they are kept."""
    return {score: gain._asdict() for score, gain in advantage(found).items()}


def write_csv(path: Path, found: list[Judged]) -> None:
    """Writes one row for each way and seed."""
    rows = [
        (judged.name, judged.trainings, judged.passes, seed, *row)
        for judged in found
        for seed, row in enumerate(zip(*scores_of(judged).values(), strict=True))
    ]
    files.write_csv(path, ("way", "trainings", "passes", "seed", *_SCORES), rows)


def figure(found: list[Judged], *, title: str) -> Figure:
    """NLL, calibration error and AUROC of all ways, with their standard errors."""
    drawn = plots.new_figure(2, height=0.3 * len(found) + 1.6)
    panels = drawn.subplots(1, 3, sharey=True)
    labels = ("NLL, nats", "calibration error, %", "AUROC (entropy)")
    names = [judged.name for judged in found]
    of_five = np.array([judged.trainings == MEMBERS for judged in found])
    rows = {"training of one network": ~of_five, f"of {MEMBERS} networks": of_five}
    scores = ("nll", "ece", "auroc_entropy")
    for axes, score, label in zip(panels, scores, labels, strict=True):
        scale = 100 if score == "ece" else 1
        values = [scale * scores_of(judged)[score] for judged in found]
        means = np.array([each.mean() for each in values])
        errors = np.array([words.standard_error(each) for each in values])
        ends = np.stack([means, means - errors, means + errors])
        series = {name: np.where(shown, ends, np.nan) for name, shown in rows.items()}
        plots.forest(
            *(names, series),
            xlabel=label,
            zero=None,
            interval="± standard error over networks or ensembles",
            ax=axes,
        )
        handles, names_shown = axes.get_legend_handles_labels()
        axes.get_legend().remove()
        axes.tick_params(labelsize=8)
        axes.locator_params(axis="x", nbins=4)
    drawn.legend(
        handles,
        names_shown,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize="small",
    )
    drawn.suptitle(title, fontsize=10)
    return drawn
