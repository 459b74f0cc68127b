"""Evaluation: by one pass without noise, and by the mean of Monte-Carlo samples."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import jaxdrop
from comparison.training import State
from data import Split
from jaxdrop import mc, metrics


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
    networks = states._replace(opt_state=(), stopper=None)  # equal ones share a program
    return jax.device_get(_evaluate(keys, networks, test, num_samples))


@partial(jax.jit, static_argnames="num_samples")
def _evaluate(
    keys: Array, states: State, test: Split, num_samples: int | None
) -> Scores:
    def of_seed(key: Array, state: State) -> Scores:
        if num_samples is None:
            return score(weight_scaling(state, test.x), test.y)
        return score(monte_carlo(key, state, test.x, num_samples), test.y)

    return jax.vmap(of_seed)(keys, states)
