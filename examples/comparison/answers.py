"""How networks predict: by one pass without noise, by samples, and as ensembles.

:func:`evaluate` gives the scores of all seeds alone; :func:`ask` keeps what they answer
to test images and to images of no class.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxdrop
from comparison.method import Method
from comparison.training import Budget, State
from data import Split
from jaxdrop import mc, metrics

WEIGHT_SCALING = "weight scaling"
MC_DROPOUT = "MC dropout"


class Scores(NamedTuple):
    """How good predictions are; every array has the seeds as its first axis.

    Attributes:
      error: the share of wrong classes.
      nll: the negative log-likelihood, in nats.
      ece: the expected calibration error.
      bins: of confidence, which reliability diagrams show.
      wrong: for each example whether its class is wrong, ``(seeds, examples)``.
    """

    error: Array
    nll: Array
    ece: Array
    bins: metrics.CalibrationBins
    wrong: Array


def weight_scaling(state: State, x: Array) -> Array:
    """Log-probabilities by one pass without noise."""
    model = state.model
    model.eval()
    return jax.nn.log_softmax(model(x))


def monte_carlo(key: Array, state: State, x: Array, num_samples: int) -> Array:
    """Logarithms of the mean probabilities over passes with noise."""
    prediction = mc.predict(
        jaxdrop.nnx.mc_apply,
        key,
        state.model,
        x,
        num_samples=num_samples,
        reducers="classification",
    )
    return prediction.stats["log_mean"]


def score(log_probs: Array, labels: Array) -> Scores:
    """Judges the predictions of one seed."""
    bins = metrics.calibration_bins(jnp.exp(log_probs), labels)
    wrong = log_probs.argmax(-1) != labels
    return Scores(
        error=wrong.mean(),
        nll=metrics.negative_log_likelihood(log_probs, labels),
        ece=bins.expected_error,
        bins=bins,
        wrong=wrong,
    )


def evaluate(
    keys: Array, states: State, test: Split, *, num_samples: int | None = None
) -> Scores:
    """Judges networks of many seeds.

    Args:
      keys: one for each network.
      states: their states.
      test: what to judge them on.
      num_samples: how many Monte-Carlo samples a prediction is the mean of; by default
        it is one pass without noise.

    Returns:
      The scores, as NumPy arrays.
    """
    return jax.device_get(_evaluate(keys, _asked(states), test, num_samples))


@partial(jax.jit, static_argnames="num_samples")
def _evaluate(
    keys: Array, states: State, test: Split, num_samples: int | None
) -> Scores:
    def of_seed(key: Array, state: State) -> Scores:
        if num_samples is None:
            return score(weight_scaling(state, test.x), test.y)
        return score(monte_carlo(key, state, test.x, num_samples), test.y)

    return jax.vmap(of_seed)(keys, states)


class Answers(NamedTuple):
    """What networks say of images; arrays have the seeds as their first axis.

    Attributes:
      log_probs: ``(seeds, images, classes)``.
      entropy: ``(seeds, images)``, in nats: that of the probabilities.
      information: likewise: what samples or members disagree about; of one pass NaN.
    """

    log_probs: np.ndarray
    entropy: np.ndarray
    information: np.ndarray

    def split(self, number: int) -> tuple["Answers", "Answers"]:
        """The answers to the first images, and to the others."""
        first = Answers(*(array[:, :number] for array in self))
        return first, Answers(*(array[:, number:] for array in self))

    def losses(self, labels: np.ndarray) -> np.ndarray:
        """The negative log-likelihood of each image, ``(seeds, images)``."""
        labels = labels[None, :, None]
        return -np.take_along_axis(self.log_probs, labels, 2)[..., 0]

    @property
    def confidence(self) -> np.ndarray:
        """The largest probability, ``(seeds, images)``."""
        return np.exp(self.log_probs.max(-1))


def ask(
    method: Method, states: State, test: np.ndarray, strange: np.ndarray, budget: Budget
) -> dict[str, tuple[Answers, Answers]]:
    """Asks the networks of a method in all ways that differ.

    Args:
      method: the method.
      states: its networks.
      test: test images.
      strange: images of no class, scaled as they are.
      budget: how many samples there are, and their keys.

    Returns:
      By the way to predict, the answers to test images and to strange ones.
    """
    x = np.concatenate([test, strange])
    asked = {WEIGHT_SCALING: by_one_pass(states, x)}
    if method.is_random:
        keys = budget.test_keys
        asked[MC_DROPOUT] = by_samples(keys, states, x, budget.num_samples)
    return {way: answers.split(len(test)) for way, answers in asked.items()}


def by_one_pass(states: State, x: np.ndarray) -> Answers:
    """Asks all networks by one pass without noise, which is weight scaling."""
    return jax.device_get(_by_one_pass(_asked(states), x))


def by_samples(keys: Array, states: State, x: np.ndarray, num_samples: int) -> Answers:
    """Asks all networks by the mean of passes with noise: Monte-Carlo dropout."""
    return jax.device_get(_by_samples(keys, _asked(states), x, num_samples))


def ensembles(answers: Answers, members: int) -> Answers:
    """Deep ensembles of so many networks each, of those that were asked.

    Networks that are left over are not used. Lakshminarayanan, Pritzel, Blundell,
    `Simple and scalable predictive uncertainty estimation using deep ensembles
    <https://arxiv.org/abs/1612.01474>`_, NeurIPS 2017, without adversarial training.
    """
    number = len(answers.entropy) // members
    log_probs, entropy = (
        array[: number * members].reshape(number, members, *array.shape[1:])
        for array in answers[:2]
    )
    mean = np.logaddexp.reduce(log_probs, axis=1) - np.log(members)
    of_mean = -(np.exp(mean) * np.where(mean > -np.inf, mean, 0)).sum(-1)
    return Answers(mean, of_mean, of_mean - entropy.mean(1))


def scores(answers: Answers, labels: np.ndarray) -> Scores:
    """Judges the answers of all seeds."""
    bins = [
        metrics.calibration_bins(of_seed, labels)
        for of_seed in np.exp(answers.log_probs)
    ]
    wrong = answers.log_probs.argmax(-1) != labels
    return Scores(
        error=wrong.mean(1),
        nll=answers.losses(labels).mean(1),
        ece=np.array([of_seed.expected_error for of_seed in bins]),
        bins=jax.tree.map(lambda *leaves: np.stack(leaves), *bins),
        wrong=wrong,
    )


def auroc(known: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """The probability that a strange image has the larger score, for each seed."""
    if np.isnan(known).any():
        return np.full(len(known), np.nan)
    is_strange = np.repeat([False, True], [known.shape[1], strange.shape[1]])
    values = np.concatenate([known, strange], axis=1)
    return np.array([metrics.auroc(of_seed, is_strange) for of_seed in values])


def _asked(states: State) -> State:
    return states._replace(opt_state=(), stopper=None)  # equal ones share a program


@jax.jit
def _by_one_pass(states: State, x: Array) -> Answers:
    log_probs = jax.vmap(weight_scaling, (0, None))(states, x)
    entropy = jax.scipy.special.entr(jnp.exp(log_probs)).sum(-1)
    return Answers(log_probs, entropy, jnp.full_like(entropy, jnp.nan))


@partial(jax.jit, static_argnames="num_samples")
def _by_samples(keys: Array, states: State, x: Array, num_samples: int) -> Answers:
    def of_seed(key: Array, state: State) -> Answers:
        stats = mc.predict(
            jaxdrop.nnx.mc_apply,
            key,
            state.model,
            x,
            num_samples=num_samples,
            reducers=mc.categorical(num_groups=0),
        ).stats
        names = ("log_mean", "predictive_entropy", "mutual_information")
        return Answers(*(stats[name] for name in names))

    return jax.vmap(of_seed)(keys, states)
