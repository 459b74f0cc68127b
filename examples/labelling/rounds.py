"""Rounds of learning and asking, until the budget of labels is spent."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

import jaxdrop
from data import Split
from jaxdrop import mc
from labelling.learner import Labelled, PoolRecipe, fit
from labelling.strategies import Strategy
from uncertainty.network import NUM_CLASSES, Network


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all strategies have in common.

    Attributes:
      recipe: how networks are trained.
      initial: how many labels of each class there are at the start.
      step: how many labels are asked for in a round.
      budget: how many labels there are in the end.
      num_samples: how many functions are drawn from a network.
      max_candidates: from how many images, drawn at random in each round from those
        without label, a strategy chooses; fewer if the pool is small.
    """

    recipe: PoolRecipe
    initial: int
    step: int
    budget: int
    num_samples: int
    max_candidates: int = 1000

    @property
    def counts(self) -> np.ndarray:
        """The number of labels in each round."""
        return np.arange(NUM_CLASSES * self.initial, self.budget + 1, self.step)

    def num_candidates(self, pool_size: int) -> int:
        """As many as are without label in every round: shapes must not change."""
        return min(self.max_candidates, pool_size - self.budget)


class Run(NamedTuple):
    """How it went with a strategy and a seed.

    Attributes:
      accuracy: ``(rounds,)``: the share of judged images that are recognized.
      rows: ``(budget,)``: the rows of the pool in the order of labelling.
    """

    accuracy: np.ndarray
    rows: np.ndarray


def run(
    strategy: Strategy,
    protocol: Protocol,
    pool: Split,
    judged: Split,
    *,
    seed: int,
    after_round: Callable[[], object],
) -> Run:
    """Learns and asks in turn.

    Args:
      strategy: what to ask for.
      protocol: everything else.
      pool: the images that may get labels.
      judged: the images that tell the accuracy.
      seed: of the first labels and all randomness. Strategies with one seed start with
        the same labels, and their networks with the same weights.
      after_round: is called after each round, to move a progress bar.

    Returns:
      The accuracies, and what was asked for.
    """
    labelled, accuracy = start(seed, pool.y, protocol), []
    for number, count in enumerate(protocol.counts):
        key = jax.random.fold_in(jax.random.key(seed), number)
        network = learn(key, pool, labelled, recipe=protocol.recipe)
        accuracy.append(float(accuracy_of(network, judged)))
        if count + protocol.step <= protocol.budget:
            labelled = ask(
                key, network, pool.x, labelled, strategy=strategy, protocol=protocol
            )
        after_round()
    return Run(np.array(accuracy), np.array(labelled.rows[: int(labelled.count)]))


def start(seed: int, labels: np.ndarray, protocol: Protocol) -> Labelled:
    """The same number of random images of each class."""
    labels = np.asarray(labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    of_class = (order[labels[order] == c] for c in range(NUM_CLASSES))
    rows = np.concatenate([some[: protocol.initial] for some in of_class])
    padded = np.zeros(protocol.budget, np.int32)
    padded[: len(rows)] = rows
    return Labelled(jnp.asarray(padded), jnp.int32(len(rows)))


learn = jax.jit(fit, static_argnames="recipe")


@jax.jit
def accuracy_of(network: Network, images: Split) -> Array:
    """The share of images that one pass without noise recognizes."""
    network = nnx.merge(*nnx.split(network), copy=True)
    network.eval()
    logits = network(images.x)
    return (logits.argmax(-1) == images.y).mean()


def samples(key: Array, network: Network, x: Array, num_samples: int) -> Array:
    """What functions drawn from a network say: ``(samples, images, classes)``.

    Each sample is one function for all images. Without that, what the labels of two
    images tell together could not be known: BatchBALD needs it.
    """
    return mc.samples(
        jaxdrop.nnx.mc_apply,
        key,
        network,
        x,
        num_samples=num_samples,
        draws="shared",
        chunk_size=10,
    )


@partial(jax.jit, static_argnames=("strategy", "protocol"))
def ask(
    key: Array,
    network: Network,
    x: Array,
    labelled: Labelled,
    *,
    strategy: Strategy,
    protocol: Protocol,
) -> Labelled:
    """Lets a strategy choose, from random images without label, what to label next."""
    of_candidates, of_samples, of_strategy = jax.random.split(key, 3)
    number = protocol.num_candidates(x.shape[0])
    candidates = labelled.candidates(of_candidates, x.shape[0], number)
    logits = samples(of_samples, network, x[candidates], protocol.num_samples)
    return labelled.add(candidates[strategy(of_strategy, logits, protocol.step)])
