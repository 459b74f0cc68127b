"""Which images are worth a label: what each strategy makes of a network's samples."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from jaxdrop import acquisition

Strategy = Callable[[Array, Array, int], Array]
"""``(key, logits, number)``, with logits ``(samples, candidates, classes)``, to the
indices of the candidates that are to be labelled."""


def random(key: Array, logits: Array, number: int) -> Array:
    """The first ones: candidates are in random order."""
    del key, logits  # which are then not computed
    return jnp.arange(number)


def highest(score: Callable[[Array], Array]) -> Strategy:
    """The candidates of the highest scores, each judged by itself."""
    return lambda key, logits, number: lax.top_k(score(logits), number)[1]


def batch_bald(key: Array, logits: Array, number: int) -> Array:
    """The candidates that together tell the most; logits must be of shared draws."""
    return acquisition.batch_bald(key, logits, num_points=number).indices


STRATEGIES: dict[str, Strategy] = {
    "random": random,
    "max entropy": highest(acquisition.max_entropy),
    "BALD": highest(acquisition.bald),
    "BatchBALD": batch_bald,
}
