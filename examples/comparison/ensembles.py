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
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

import jaxdrop
from comparison import sweep
from comparison.evaluation import weight_scaling
from comparison.method import Method
from comparison.methods import METHODS
from comparison.training import Recipe, State, seen_by, train
from data import Images
from jaxdrop import mc, metrics
from study.calibration import resampled_ece
from study.gains import Gain, gains

MEMBERS = 5
ENSEMBLE = f"ensemble of {MEMBERS}"
MC_AS_LONG = f"MC dropout, {MEMBERS} passes, trained as long"
_NONE, _DROPOUT = (
    next(method for method in METHODS if method.key == key)
    for key in ("none", "dropout")
)


class Answers(NamedTuple):
    """What is said of images, by each network or ensemble.

    Attributes:
      log_probs: ``(seeds, images, classes)``.
      entropy: ``(seeds, images)``, in nats.
      information: what members or samples disagree about, likewise; NaN of one pass.
    """

    log_probs: np.ndarray
    entropy: np.ndarray
    information: np.ndarray


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
    recipe: Recipe,
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
        known, unknown = (jax.device_get(ask(x)) for x in (seen.test.x, others))
        judged = _judge(known, unknown, seen.test.y)
        found.append(Judged(name, trainings, passes, *judged))
    return found


def _trained(
    bar: tqdm, images: Images, method: Method, recipe: Recipe, keys: Array
) -> State:
    bar.set_description(f"{method.name}, {recipe.epochs} epochs")
    states = train(method, recipe, images, keys, bar.update).states
    return sweep.at(states, 0)._replace(opt_state=(), stopper=None)


def _ways(plain: State, noisy: State, long: State, num_samples: int) -> Iterator[tuple]:
    """Name, trainings, passes, and what answers, of each row of the table."""
    first = partial(jax.tree.map, lambda leaf: leaf[::MEMBERS])
    together = partial(
        jax.tree.map, lambda leaf: leaf.reshape(-1, MEMBERS, *leaf.shape[1:])
    )
    yield "one network", 1, 1, partial(_one_pass, first(plain))
    yield "dropout", 1, 1, partial(_one_pass, first(noisy))
    counts = dict.fromkeys((MEMBERS, num_samples))
    for passes in counts:
        ask = partial(_samples, first(noisy), passes)
        yield f"MC dropout, {passes} passes", 1, passes, ask
    for passes in counts:
        name = f"MC dropout, {passes} passes, trained as long"
        yield name, MEMBERS, passes, partial(_samples, long, passes)
    yield ENSEMBLE, MEMBERS, MEMBERS, partial(_members, together(plain))
    name = f"{ENSEMBLE} with dropout"
    yield name, MEMBERS, MEMBERS, partial(_members, together(noisy))


@jax.jit
def _one_pass(states: State, x: Array) -> Answers:
    log_probs = jax.vmap(weight_scaling, (0, None))(states, x)
    entropy = _entropy(log_probs)
    return Answers(log_probs, entropy, jnp.full_like(entropy, jnp.nan))


@jax.jit
def _members(states: State, x: Array) -> Answers:
    """The mean of the probabilities of the members, ``(ensembles, members, ...)``."""
    each = jax.vmap(jax.vmap(weight_scaling, (0, None)), (0, None))(states, x)
    log_probs = jax.nn.logsumexp(each, axis=1) - jnp.log(each.shape[1])
    entropy = _entropy(log_probs)
    return Answers(log_probs, entropy, entropy - _entropy(each).mean(1))


@partial(jax.jit, static_argnums=1)
def _samples(states: State, num_samples: int, x: Array) -> Answers:
    def of_seed(key: Array, state: State) -> Answers:
        stats = mc.predict(
            jaxdrop.nnx.mc_apply,
            key,
            state.model,
            x,
            num_samples=num_samples,
            reducers="classification",
        ).stats
        names = ("log_mean", "predictive_entropy", "mutual_information")
        return Answers(*(stats[name] for name in names))

    keys = jax.random.split(jax.random.key(1), len(states.step))
    return jax.vmap(of_seed)(keys, states)


def _entropy(log_probs: Array) -> Array:
    return jax.scipy.special.entr(jnp.exp(log_probs)).sum(-1)


def _judge(known: Answers, unknown: Answers, labels: np.ndarray) -> tuple:
    """The scores, in the order that they have in ``Judged``."""
    wrong = known.log_probs.argmax(-1) != labels
    nll = -np.take_along_axis(known.log_probs, labels[None, :, None], 2)[..., 0]
    confidence = np.exp(known.log_probs.max(-1))
    ece = resampled_ece(confidence, ~wrong, resamples=1).values
    detected = [
        np.array([_auroc(*pair) for pair in zip(*scores, strict=True)])
        for scores in (
            (known.entropy, unknown.entropy),
            (known.information, unknown.information),
        )
    ]
    return wrong, nll, confidence, ece, *detected


def _auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """The chance that a strange image has the larger score."""
    is_strange = np.repeat([False, True], [len(known), len(unknown)])
    return float(metrics.auroc(np.concatenate([known, unknown]), is_strange))


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
