"""Asking a network: by one pass without noise, and by samples."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxdrop
from jaxdrop import mc
from uncertainty.network import Network

COUNTS = (1, 2, 5, 10, 20, 50, 100)


class Answers(NamedTuple):
    """What is said of images.

    Attributes:
      probs: ``(images, classes)``.
      entropy: ``(images,)``, in nats: of the probabilities.
      information: ``(images,)``, in nats: what samples disagree about; of one
        pass NaN.
    """

    probs: Array
    entropy: Array
    information: Array


@jax.jit
def by_one_pass(model: Network, x: Array) -> Answers:
    """Weight scaling: nothing is dropped. There is no disagreement to measure."""
    probs = jax.nn.softmax(model(x))
    entropy = jax.scipy.special.entr(probs).sum(-1)
    return Answers(probs, entropy, jnp.full_like(entropy, jnp.nan))


@partial(jax.jit, static_argnames="num_samples")
def by_samples(
    key: Array, model: Network, x: Array, num_samples: int = COUNTS[-1]
) -> Answers:
    """Monte-Carlo dropout."""
    stats = mc.predict(
        jaxdrop.nnx.mc_apply,
        key,
        model,
        x,
        num_samples=num_samples,
        reducers="classification",
    ).stats
    return Answers(
        stats["mean"], stats["predictive_entropy"], stats["mutual_information"]
    )


@jax.jit
def errors_by_count(keys: Array, model: Network, x: Array, labels: Array) -> Array:
    """The error after each of ``COUNTS`` samples, ``(counts, keys)``.

    Samples are added to those there are: drawing goes on from its state.
    """
    of_one = mc.categorical(num_groups=0)

    def of_key(key: Array) -> Array:
        state, errors = None, []
        for more in np.diff(COUNTS, prepend=0):
            result = mc.predict(
                jaxdrop.nnx.mc_apply,
                key,
                model,
                x,
                num_samples=int(more),
                reducers=of_one,
                state=state,
            )
            state = result.state
            errors.append((result.stats["mean"].argmax(-1) != labels).mean())
        return jnp.stack(errors)

    return jax.lax.map(of_key, keys).T
