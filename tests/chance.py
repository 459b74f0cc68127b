"""How tests speak about chance: with exact p-values and standard errors."""

import jax
import numpy as np
from scipy import stats

UNLIKELY = 1e-6


def assert_frequency(hits, probability: float, *, p_value: float = UNLIKELY) -> None:
    """Asserts that independent ``hits`` have ``probability`` (exact binomial test)."""
    hits = np.asarray(hits)
    assert_count(int(hits.sum()), hits.size, probability, p_value=p_value)


def assert_count(
    count: int, trials: int, probability: float, *, p_value: float = UNLIKELY
) -> None:
    """Asserts that ``count`` of ``trials`` is no unlikely outcome, on either side."""
    binomial = stats.binom(trials, probability)
    tail = 2 * min(binomial.cdf(count), binomial.sf(count - 1))
    assert tail > p_value, (
        f"{count} of {trials} are {count / trials:.6f}, "
        f"not {probability} (p = {tail:.1e})"
    )


def assert_mean(
    samples, expected, *, sigmas: float = 5.0, error=None, axis: int | None = 0
) -> None:
    """Asserts that means over ``axis`` are ``expected`` within standard errors.

    Args:
      samples: independent draws along ``axis``; None for all entries.
      expected: what their means should be.
      sigmas: how many standard errors are allowed.
      error: the standard error, where it is known; measured otherwise.
      axis: the axis of the draws.
    """
    samples = np.asarray(samples, np.float64)
    count = samples.size if axis is None else samples.shape[axis]
    if error is None:
        error = samples.std(axis=axis, ddof=1) / np.sqrt(count)
    distance = np.abs(samples.mean(axis=axis) - np.asarray(expected))
    worst = np.max(distance - sigmas * (np.asarray(error) + 1e-12))
    assert worst <= 0, f"off by {np.max(distance)}, allowed {sigmas} x {np.max(error)}"


def assert_uncorrelated(a, b, *, sigmas: float = 5.0) -> None:
    """Asserts that two sets of independent draws have no linear correlation."""
    a, b = (np.asarray(v, np.float64).ravel() for v in (a, b))
    z = np.corrcoef(a, b)[0, 1] * np.sqrt(a.size)
    assert abs(z) < sigmas, f"correlated: z = {z:.1f} over {a.size} pairs"


def assert_distribution(samples, cdf, *, p_value: float = UNLIKELY) -> None:
    """Asserts that samples come from a continuous distribution (Kolmogorov-Smirnov)."""
    result = stats.kstest(np.asarray(samples, np.float64).ravel(), cdf)
    assert result.pvalue > p_value, f"p = {result.pvalue:.1e}"


def assert_uniform_counts(counts, *, p_value: float = UNLIKELY) -> None:
    """Asserts that counts are spread evenly over their cells (chi-squared)."""
    result = stats.chisquare(np.asarray(counts).ravel())
    assert result.pvalue > p_value, f"p = {result.pvalue:.1e}"


def normal(*shape: int, seed: int = 0) -> jax.Array:
    """Fixed normal numbers as data; NumPy draws them, so that nothing compiles."""
    numbers = np.random.default_rng(seed).normal(size=shape)
    return jax.device_put(numbers.astype(np.float32))  # asarray compiles a copy
