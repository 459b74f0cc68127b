"""Windows of a text: random ones to learn from, and those that score each character."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdrop import metrics


class Windows(NamedTuple):
    """Pieces of a text, each with the characters that follow.

    Attributes:
      inputs: ``(windows, length)``, the numbers of characters.
      targets: ``(windows, length)``: the character after each.
      weights: ``(windows, length)``: 1 where a target counts, and 0 where it has too
        little before it, or counts in another window.
    """

    inputs: Array | np.ndarray
    targets: Array | np.ndarray
    weights: Array | np.ndarray


def random_windows(key: Array, ids: Array, *, count: int, length: int) -> Windows:
    """Windows at random places, all of whose targets count."""
    starts = jax.random.randint(key, (count, 1), 0, len(ids) - length)
    return windows_at(starts[:, 0], ids, length=length)


def windows_at(starts: Array, ids: Array, *, length: int) -> Windows:
    """Windows that begin at the given places, all of whose targets count."""
    window = ids[starts[:, None] + jnp.arange(length + 1)]
    weights = jnp.ones((len(starts), length))
    return Windows(window[:, :-1], window[:, 1:], weights)


def one_pass(
    key: Array, num_characters: int, *, steps: int, count: int, length: int
) -> Array:
    """Where windows begin that do not overlap, so that no target is seen twice.

    Args:
      key: a PRNG key, of their order.
      num_characters: the length of the text.
      steps: how many steps there are.
      count: the number of windows in a step.
      length: of a window.

    Returns:
      ``(steps, count)``.

    Raises:
      ValueError: if the text is too short.
    """
    available = (num_characters - 1) // length
    if steps * count > available:
        raise ValueError(
            f"one_pass: {steps} steps of {count} windows of {length} characters need "
            f"{steps * count} windows, but {num_characters} characters have "
            f"{available}; take fewer steps."
        )
    order = jax.random.permutation(key, available)[: steps * count]
    return length * order.reshape(steps, count)


def scoring_windows(
    ids: np.ndarray, *, length: int, context: int, multiple: int = 1
) -> Windows:
    """Overlapping windows in which each character counts once, but for the very first.

    Args:
      ids: ``(n,)``: the numbers of the characters, more than ``length``.
      length: of a window.
      context: how many characters there are at least before one that counts, except at
        the start of the text; less than ``length``.
      multiple: what the number of windows is a multiple of; those that fill up count
        for nothing.

    Returns:
      The windows.
    """
    if not 0 <= context < length < len(ids):
        raise ValueError(
            "scoring_windows: needs 0 <= context < length < number of characters, got "
            f"{context}, {length} and {len(ids)}."
        )
    last = len(ids) - 1 - length
    starts = np.minimum(np.arange(0, last + length - context, length - context), last)
    places = starts[:, None] + np.arange(length)
    weights = np.ones(places.shape, np.float32)
    weights[1:] = places[1:] >= (starts[:-1] + length)[:, None]
    windows = Windows(ids[places], ids[places + 1], weights)
    fill = [(0, -len(starts) % multiple), (0, 0)]
    return Windows(*(np.pad(part, fill) for part in windows))


def bits_per_character(logits: Array, windows: Windows) -> Array:
    """How many bits a character costs that is coded with these predictions.

    Args:
      logits: ``(windows, length, characters)``.
      windows: what was predicted.

    Returns:
      A scalar: the mean over all targets that count.
    """
    nats = metrics.negative_log_likelihood(
        logits, windows.targets, weights=windows.weights
    )
    return nats / jnp.log(2.0)
