"""The expected calibration error, on resampled examples."""

import numpy as np
from numpy.typing import ArrayLike

from study.gains import Resampled

_RESAMPLES = 500


def resampled_ece(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    num_bins: int = 15,
    resamples: int = _RESAMPLES,
) -> Resampled:
    """The expected calibration error of each seed, and that of resampled examples.

    It is not a mean over examples: its bins have to be filled again for each resample.
    All calls with as many examples draw the same ones, so that differences of methods
    are paired.

    Args:
      confidence: ``(seeds, examples)``: the largest probability.
      correct: ``(seeds, examples)``: whether the class is right.
      num_bins: the number of bins of equal width, as they are in
        :func:`jaxdrop.metrics.expected_calibration_error`.
      resamples: how often the examples are drawn.

    Returns:
      The score, for :func:`study.gains.gains`.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct, float)
    num_examples = confidence.shape[1]
    rng = np.random.default_rng(0)
    chances = np.full(num_examples, 1 / num_examples)
    counts = rng.multinomial(num_examples, chances, resamples)
    weights = np.concatenate([np.ones((1, num_examples)), counts]) / num_examples
    edges = (np.arange(1, num_bins) / num_bins).astype(confidence.dtype)
    places = np.searchsorted(edges, confidence, side="right")
    is_in_bin = places[:, None] == np.arange(num_bins)[:, None]
    gaps = np.where(is_in_bin, (correct - confidence)[:, None], 0.0)
    scores = np.abs(gaps @ weights.T).sum(1)
    values, replicates = np.split(scores, [1], axis=1)
    return Resampled(values[:, 0], replicates)
