"""Entropies of log-probabilities, which may be -inf, and means in log space."""

import jax
import jax.numpy as jnp

from jaxdrop._typing import Array


def entropy(log_probs: Array, /) -> Array:
    """``-sum p log p`` over the last axis, in nats; ``0 log 0`` is 0."""
    possible = log_probs != -jnp.inf  # NaN stays NaN
    finite = jnp.where(possible, log_probs, 0)
    return -jnp.where(possible, jnp.exp(finite) * finite, 0).sum(-1)


def log_mean_exp(log_probs: Array, /) -> Array:
    """The logarithm of the mean probabilities over the first axis."""
    count = jnp.asarray(log_probs.shape[0], log_probs.dtype)
    return jax.nn.logsumexp(log_probs, axis=0) - jnp.log(count)
