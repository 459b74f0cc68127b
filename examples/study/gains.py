"""What each method gains over a baseline, and how sure that is.

Scores are arrays ``(seeds, examples)`` of losses, such as 0 and 1 for right and wrong;
all methods share their seeds and their examples, so that differences are paired. Scores
``(seeds,)``, and ``(seeds, 1)``, say nothing about examples: then the intervals cover
the choice of seeds alone. A score that is not a mean over examples is given as
:class:`Resampled`.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_SEEDS = 3
"""With fewer there is neither an interval nor a verdict."""

SIGNIFICANCE = 0.05
"""The level of tests."""

LEVEL = 1 - SIGNIFICANCE
"""The level of intervals."""

BETTER, WORSE = "better", "worse"
NOT_DISTINGUISHABLE = "not distinguishable"
TOO_FEW = "too few seeds"
UNDEFINED = "undefined"


class Resampled(NamedTuple):
    """A score of all examples together, and what it is on resampled examples.

    Attributes:
      values: ``(seeds,)``: the score.
      replicates: ``(seeds, resamples)``: the score on examples that are drawn with
        replacement; the same draws for all seeds and all methods.
    """

    values: np.ndarray
    replicates: np.ndarray


class Gain(NamedTuple):
    """The loss of a baseline minus that of a method.

    Attributes:
      name: the method.
      estimate: the mean over seeds and examples; above 0 the method is better.
      low: the lower end of the interval.
      high: its upper end.
      p: the corrected p-value; below ``1 - level`` exactly if the interval excludes 0.
      verdict: ``"better"``, ``"worse"`` or ``"not distinguishable"``; ``"too few
        seeds"`` where no verdict is given, ``"undefined"`` for a score of NaN.
    """

    name: str
    estimate: float
    low: float
    high: float
    p: float
    verdict: str


def gains(
    scores: Mapping[str, ArrayLike | Resampled],
    *,
    baseline: str | None = None,
    level: float = LEVEL,
) -> list[Gain]:
    """Compares every method with the baseline, in the order of ``scores``.

    Seeds and examples are both a sample: the variance of a mean difference is that of
    resampling both together (Owen, `The pigeonhole bootstrap
    <https://doi.org/10.1214/07-AOAS122>`_, 2007), computed from the mean squares of
    seeds, examples and their interaction, without the part that the bootstrap counts
    twice. Intervals are Student's, with the degrees of freedom of Hillis (2007,
    https://doi.org/10.1002/sim.2532), which matter for few seeds. P-values are
    corrected for the number of methods by Holm's procedure (1979), and each interval
    has the level at which that procedure has tested its method.

    Args:
      scores: losses by the name of the method, see above; lower is better.
      baseline: the name of the method that the others are compared with; by default the
        first.
      level: the probability with which no method that equals the baseline is called
        better or worse.

    Returns:
      A gain for each method but the baseline.

    Raises:
      ValueError: if the baseline is unknown, or shapes differ.
    """
    baseline = next(iter(scores)) if baseline is None else baseline
    if baseline not in scores:
        raise ValueError(
            f"baseline must be one of {', '.join(scores)}, got {baseline!r}."
        )
    pairs = [(baseline, name) for name in scores if name != baseline]
    return _compare(scores, pairs, level)


def ties(
    scores: Mapping[str, ArrayLike | Resampled], *, level: float = LEVEL
) -> tuple[str, ...]:
    """The method with the least mean loss, and those not distinguishable from it.

    Corrected for all pairs of methods, since the best is known only afterwards. With
    too few seeds all methods are ties.

    Args:
      scores: losses by the name of the method, as for :func:`gains`.
      level: the probability with which equal methods are all ties.

    Returns:
      Their names, the best first, the others by their loss.
    """
    means = {name: _values(score).mean() for name, score in scores.items()}
    order = sorted(scores, key=lambda name: np.nan_to_num(means[name], nan=np.inf))
    pairs = list(itertools.combinations(order, 2))
    compared = zip(pairs, _compare(scores, pairs, level), strict=True)
    worse = {
        name
        for (best, name), gain in compared
        if best == order[0] and gain.verdict in (WORSE, UNDEFINED)
    }
    return tuple(name for name in order if name not in worse)


def together(found: Sequence[Gain]) -> list[Gain]:
    """Gains that were found one by one, tested together.

    Args:
      found: gains of separate comparisons, such as of one method in several scores.

    Returns:
      The same with p-values and verdicts at :data:`SIGNIFICANCE` for all of them, by
      Holm's procedure; intervals stay those of each by itself.
    """
    corrected = holm([gain.p for gain in found]).tolist()
    tested = zip(found, corrected, strict=True)
    return [
        gain
        if np.isnan(p)
        else gain._replace(p=p, verdict=_direction(gain.estimate, p < SIGNIFICANCE))
        for gain, p in tested
    ]


def sort(found: list[Gain]) -> list[Gain]:
    """The largest gain first; undefined ones last."""
    return sorted(found, key=lambda gain: -np.nan_to_num(gain.estimate, nan=-np.inf))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Corrects p-values for their number: Holm (1979), a simple step-down procedure.

    A p-value of NaN stays NaN and is not counted.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    factors = np.arange(len(order), 0, -1)
    corrected = np.full_like(p, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return corrected


class _Estimate(NamedTuple):
    """A mean difference, the square of its standard error, degrees of freedom."""

    mean: float
    variance: float
    freedom: float


def _compare(
    scores: Mapping[str, ArrayLike | Resampled],
    pairs: list[tuple[str, str]],
    level: float,
) -> list[Gain]:
    """The gain of the second of each pair over the first, corrected for all pairs."""
    found = [_estimate(_difference(scores, *pair)) for pair in pairs]
    means, variances, freedoms = np.array(found).reshape(-1, 3).T
    p = _p_values(means, variances, freedoms)
    corrected = holm(p)
    # Holm's factors, at least 1; for a p-value of 0 the largest that there can be.
    factors = np.divide(corrected, p, out=np.full_like(p, len(pairs)), where=p > 0)
    tails = (1 - level) / (2 * np.maximum(factors, 1))
    halves = stats.t.isf(tails, freedoms) * np.sqrt(variances)
    columns = np.stack([means, means - halves, means + halves, corrected], 1).tolist()
    return [
        Gain(name, *row, _verdict(estimate, row[-1] < 1 - level))
        for (_, name), estimate, row in zip(pairs, found, columns, strict=True)
    ]


def _verdict(estimate: _Estimate, significant: bool) -> str:
    if np.isnan(estimate.mean):
        return UNDEFINED
    if np.isnan(estimate.variance):
        return TOO_FEW
    return _direction(estimate.mean, significant)


def _direction(mean: float, significant: bool) -> str:
    if not significant:
        return NOT_DISTINGUISHABLE
    return BETTER if mean > 0 else WORSE


def _p_values(
    means: np.ndarray, variances: np.ndarray, freedoms: np.ndarray
) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(means) / np.sqrt(variances), freedoms)
    return np.where((means == 0) & (variances == 0), 1.0, p)


def _difference(
    scores: Mapping[str, ArrayLike | Resampled], baseline: str, name: str
) -> np.ndarray | Resampled:
    """Losses of the baseline minus those of a method."""
    first, second = scores[baseline], scores[name]
    if isinstance(first, Resampled) and isinstance(second, Resampled):
        parts = [a - b for a, b in zip(first, second, strict=True)]
        return Resampled(*parts)
    first, second = _table(first), _table(second)
    if first.shape != second.shape:
        raise ValueError(
            f"scores must have the same seeds and examples: {baseline} has the shape "
            f"{first.shape}, {name} has {second.shape}."
        )
    return first - second


def _table(score: ArrayLike) -> np.ndarray:
    table = np.asarray(score, float)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.size:
        raise ValueError(
            "scores must have the shape (seeds, examples) or (seeds,), got "
            f"{np.shape(score)}."
        )
    return table


def _values(score: ArrayLike | Resampled) -> np.ndarray:
    """The score of each seed."""
    return score.values if isinstance(score, Resampled) else _table(score).mean(1)


def _estimate(difference: np.ndarray | Resampled) -> _Estimate:
    """A mean over seeds and examples, both of which are drawn at random."""
    values = _values(difference)
    mean, num_seeds = values.mean(), len(values)
    if np.isnan(mean) or num_seeds < MIN_SEEDS:
        return _Estimate(mean, np.nan, np.nan)
    by_seed = values.var(ddof=1) / num_seeds
    if isinstance(difference, Resampled):
        by_example, both = _of_replicates(difference.replicates)
    else:
        by_example, both = _of_examples(difference)
    # by_seed and by_example each hold the interaction, which counts once. Chance may
    # leave by_seed below it; then the seeds look better than they can be.
    examples = max(by_example - both, 0)
    variance = max(by_seed, both) + examples
    if by_seed == 0:
        return _Estimate(mean, variance, np.inf)
    freedom = (num_seeds - 1) * ((by_seed + examples) / by_seed) ** 2
    return _Estimate(mean, variance, freedom)


def _of_examples(table: np.ndarray) -> tuple[float, float]:
    """Variances of the mean by its examples, and by seeds and examples together."""
    num_seeds, num_examples = table.shape
    if num_examples == 1:
        return 0.0, 0.0
    by_example = table.mean(0).var(ddof=1) / num_examples
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    square = (rest**2).sum() / ((num_seeds - 1) * (num_examples - 1))
    return by_example, square / (num_seeds * num_examples)


def _of_replicates(replicates: np.ndarray) -> tuple[float, float]:
    """The same of a score that is known on resampled examples."""
    mean = replicates.mean(0)
    both = (replicates - mean).var(1).mean() / (len(replicates) - 1)
    return mean.var(ddof=1), both
