"""Results in words: numbers with the digits that their error allows, and a conclusion.

Numbers of one column have the same number of decimals, which their typical error sets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from study import gains
from study.gains import Gain, Resampled

_MANY = 4  # so many names are listed, more are counted
_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)


def decimals(errors: ArrayLike, *, largest: int = 4) -> int:
    """How many decimals a column can have whose numbers have these standard errors.

    By the rule of the Particle Data Group: an error is written with two digits if they
    are 10 to 35, and with one if they are 36 to 99. The median error of the column is
    taken.

    Args:
      errors: standard errors; those that are 0, NaN or infinite are left out.
      largest: what is returned if there are more, or no errors.
    """
    errors = np.asarray(errors, float)
    errors = errors[np.isfinite(errors) & (errors > 0)]
    if not errors.size:
        return largest
    error = np.median(errors)
    power = int(np.floor(np.log10(error)))
    digits = 2 if error / 10.0**power < 3.55 else 1
    return int(np.clip(digits - 1 - power, 0, largest))


def number(value: float, places: int) -> str:
    """A number with so many decimals, a true minus, and no negative zero."""
    if np.isnan(value):
        return "–"
    text = f"{value:.{places}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def with_errors(
    samples: Sequence[ArrayLike | None],
    *,
    scale: float = 1.0,
    level: float | None = None,
    largest: int = 4,
    without: int = 2,
) -> list[str]:
    """A column of means with their standard errors, as ``1.92±0.07``.

    Args:
      samples: for each row the values whose mean is shown, one of each seed; None for a
        dash.
      scale: a factor, such as 100 for percent.
      level: show half of the interval of this level in place of the standard error.
      largest: the largest number of decimals.
      without: how many decimals there are if no row has an error.
    """
    arrays = [None if s is None else scale * np.asarray(s, float) for s in samples]
    errors = np.array([np.nan if a is None else standard_error(a) for a in arrays])
    known = np.isfinite(errors).any()
    places = decimals(errors, largest=largest) if known else without
    cells = []
    for array, error in zip(arrays, errors, strict=True):
        mean = "–" if array is None else number(array.mean(), places)
        if np.isfinite(error):
            factor = 1 if level is None else _quantile(level, len(array))
            mean += f"±{_positive(factor * error, places)}"
        cells.append(mean)
    return cells


def _positive(error: float, places: int) -> str:
    """A number with some decimals, or a bound on one that they would show as 0."""
    shown = f"{error:.{places}f}"
    return f"<{10**-places:.{places}f}" if error > 0 and not float(shown) else shown


def with_error(values: ArrayLike, *, digits: int, scale: float = 1.0) -> str:
    """A mean over seeds with its standard error, where there are several."""
    values = scale * np.asarray(values, float)
    error = standard_error(values)
    noise = f"±{error:.{digits}f}" if np.isfinite(error) else ""
    return number(values.mean(), digits) + noise


def interval(values: ArrayLike, level: float = gains.LEVEL) -> tuple[float, float]:
    """Student's interval of a mean over seeds; NaN of a single one."""
    values = np.asarray(values, float)
    half = _quantile(level, len(values)) * standard_error(values)
    return float(values.mean() - half), float(values.mean() + half)


def _quantile(level: float, number: int) -> float:
    return float(stats.t.isf((1 - level) / 2, number - 1)) if number > 1 else np.nan


def standard_error(values: ArrayLike) -> float:
    """Of a mean of independent values; NaN of a single one."""
    values = np.asarray(values, float)
    return values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan


def intervals(found: Sequence[Gain], *, scale: float = 1.0) -> list[tuple[str, str]]:
    """For each gain its estimate and its interval, as ``("0.68", "0.2 to 1.2")``.

    Args:
      found: the gains of one column.
      scale: a factor, such as 100 for percentage points.
    """
    halves = [scale * (gain.high - gain.low) / 2 for gain in found]
    known = np.isfinite(halves).any()
    places = decimals(np.asarray(halves) / 2) if known else 2  # of two standard errors
    cells = []
    for gain in found:
        shown = [
            number(scale * v, places) for v in (gain.estimate, gain.low, gain.high)
        ]
        interval = "–" if np.isnan(gain.low) else f"{shown[1]} to {shown[2]}"
        cells.append((shown[0], interval))
    return cells


def count(number: int, noun: str) -> str:
    """``"nine methods"``, ``"one method"``, ``"23 methods"``."""
    return f"{_word(number)} {noun if number == 1 else noun + 's'}"


def _word(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def listed(names: Sequence[str]) -> str:
    """``"a, b and c"``."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a conclusion is about.

    Attributes:
      where: where it was measured, as ``"On digits with 500 training images"``.
      score: the name of the loss.
      unit: the unit of the loss times ``scale``.
      scale: a factor, such as 100 for percentage points.
      baseline: the name of the method that the others are compared with.
      level: the level of the intervals.
      flag: the option of the example that names methods.
    """

    where: str
    score: str = "error"
    unit: str = "points"
    scale: float = 100.0
    baseline: str = "none"
    level: float = gains.LEVEL
    flag: str = "--methods"


def conclusion(
    found: Sequence[Gain],
    subject: Subject,
    *,
    best: Sequence[str] = (),
    prices: Mapping[str, Sequence[Gain]] | None = None,
) -> str:
    """One or two sentences that say which method to use and how sure that is.

    Args:
      found: the gains of all methods, :func:`study.gains.gains`.
      subject: what they are gains of.
      best: the methods that cannot be distinguished from the best,
        :func:`study.gains.ties`.
      prices: gains in other scores by their names; where the best method is worse than
        the baseline, that is said.
    """
    where, score = subject.where, subject.score
    ranked = gains.sort(list(found))
    known = [gain for gain in ranked if gain.verdict != gains.UNDEFINED]
    if not known or known[0].verdict == gains.TOO_FEW:
        return f"{where}, two seeds or fewer are too few to compare methods."
    leader, *rest = known
    shown = _shown(leader, subject)
    if leader.verdict == gains.BETTER:
        first = f"{where}, {leader.name} lowers the {score} most ({shown})"
        losses = [
            name
            for name, others in (prices or {}).items()
            if any(g.name == leader.name and g.verdict == gains.WORSE for g in others)
        ]
        first += f", at the price of {listed(losses)}." if losses else "."
    else:
        subjects = f"none of the {count(len(found), 'method')} lowers"
        if len(found) == 1:
            subjects = f"{leader.name} does not lower"
        first = f"{where}, {subjects} the {score} significantly: the largest gain over "
        first += f"{subject.baseline} is that of {leader.name} ({shown})."
        rest = known
    tied = [name for name in best if name not in (leader.name, subject.baseline)]
    second = _others(rest, leader, tied, subject)
    second += [
        f"the {score} of {gain.name} is undefined"
        for gain in ranked
        if gain.verdict == gains.UNDEFINED
    ]
    return " ".join([first, _sentence(second)]).strip()


def verdict(scores: Mapping[str, ArrayLike | Resampled], subject: Subject) -> str:
    """The conclusion from the scores of all methods, without their gains.

    Args:
      scores: losses by the name of the method, as for :func:`study.gains.gains`.
      subject: what they are losses of; its baseline is one of the methods.

    Returns:
      One or two sentences; none about chance with fewer than three seeds.
    """
    if len(scores) == 1:
        return f"There is nothing to compare: name another one with {subject.flag}."
    found = gains.gains(scores, baseline=subject.baseline, level=subject.level)
    return conclusion(found, subject, best=gains.ties(scores, level=subject.level))


def _others(
    rest: Sequence[Gain], leader: Gain, tied: Sequence[str], subject: Subject
) -> list[str]:
    """What is said of the methods that are not the best."""
    names = {
        verdict: [gain.name for gain in rest if gain.verdict == verdict]
        for verdict in (gains.BETTER, gains.NOT_DISTINGUISHABLE, gains.WORSE)
    }
    better, apart, worse = names.values()
    clauses = []
    if better:
        clauses.append(f"{_named(better)} {_verb(better, 'lower')} it as well")
    if leader.verdict == gains.BETTER:
        if tied and len(tied) == len(rest):
            clauses.append(f"the lead of {leader.name} is not significant")
        elif tied:
            lead = f"the lead of {leader.name} over {_named(tied)}"
            clauses.append(f"{lead} is not significant")
        if apart:
            all_others = len(apart) == len(rest) and len(apart) > 1
            who = "the others" if all_others else _named(apart)
            clauses.append(f"{who} cannot be distinguished from {subject.baseline}")
    if worse:
        clauses.append(f"{_named(worse)} {_verb(worse, 'raise')} it")
    return clauses


def _verb(names: Sequence[str], verb: str) -> str:
    return f"{verb}s" if len(names) == 1 else verb


def _named(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= _MANY else f"{_word(len(names))} others"


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _shown(gain: Gain, subject: Subject) -> str:
    ((estimate, interval),) = intervals([gain], scale=subject.scale)
    unit = f" {subject.unit}" if subject.unit else ""
    return f"{estimate}{unit}, {100 * subject.level:g} % interval {interval}"
