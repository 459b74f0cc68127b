"""Pieces of the tables of ``docs/results.md``: cells, columns, sentences below."""

import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "examples"))

from study import gains, words  # noqa: E402

Content = dict[str, Any]
_UNKNOWN = gains.NOT_DISTINGUISHABLE


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table; spaces around ± make it easier to read."""
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return text.replace("±", " ± ").replace("|  |", "| |")


def rows_of(*columns: Sequence[str]) -> list[list[str]]:
    """The rows of a table from its columns."""
    return [list(row) for row in zip(*columns, strict=True)]


def with_command(content: Content, *parts: str) -> str:
    """A block: table, sentences, and how it was measured."""
    source = f"`{content['command']}` ({content['versions']}; {content['machine']})."
    return "\n\n".join([*filter(None, parts), source])


def intervals(rows: list[Content], score: str) -> list[str]:
    """Gains with their intervals, bold if significant; a dash for the baseline."""
    kept = [row["weight scaling"][score] for row in rows]
    found = [
        gain_of({**one, "estimate": one["gain"]}) if "gain" in one else None
        for one in kept
    ]
    shown = cells_of(found)
    significant = (gains.BETTER, gains.WORSE)
    return [
        f"**{cell}**" if one.get("verdict") in significant else cell
        for cell, one in zip(shown, kept, strict=True)
    ]


def strength(chosen: dict[str, float] | None) -> str:
    """The chosen strength of a method, as ``rate 0.35, weight decay 0.3``."""
    items = (chosen or {}).items()
    named = (f"{name.replace('_', ' ')} {value:.3g}" for name, value in items)
    return ", ".join(named) or "–"


def gain_of(kept: Content) -> gains.Gain:
    """A gain of a file, in which NaN is null."""
    numbers = (
        np.nan if kept.get(key) is None else kept[key]
        for key in ("estimate", "low", "high", "p")
    )
    return gains.Gain(kept.get("name", ""), *numbers, verdict=kept.get("verdict", ""))


def cells_of(found: Sequence[gains.Gain | None], *, scale: float = 1.0) -> list[str]:
    """Gains with their intervals, where they have one; a dash in the place of None."""
    cells = iter(words.intervals([one for one in found if one], scale=scale))
    shown = []
    for one in found:
        gain, interval = next(cells) if one else ("–", "–")
        shown.append(gain if interval == "–" else f"{gain} ({interval})")
    return shown


def with_gains(kept: list[Content | None]) -> list[str]:
    """Gains in points; a dash for the method that others are compared to."""
    return cells_of([gain_of(one) if one else None for one in kept], scale=100)


def verdicts(kept: Iterable[Content], *, over: str = "none") -> str:
    """Which methods are better or worse than another, corrected for their number."""
    names: dict[str, list[str]] = {}
    for gain in kept:
        names.setdefault(gain["verdict"], []).append(gain["name"])
    order = (gains.BETTER, gains.WORSE, gains.NOT_DISTINGUISHABLE)
    order += (gains.TOO_FEW, gains.UNDEFINED)
    parts = [
        f"{verdict}: {words.listed(names[verdict])}"
        for verdict in order
        if verdict in names
    ]
    if not parts:
        return ""
    return f"Against {over}, corrected for the number of methods, {'; '.join(parts)}."


def by_order(
    pairs: Mapping[str, tuple[ArrayLike, ArrayLike]], *, overlap: float = 0.0
) -> dict[str, list[str]]:
    """Where the second of two scores is lower, paired and corrected (Holm).

    Args:
      pairs: two scores by a name, each with the same seeds or splits.
      overlap: of splits that share rows, the number of test rows by that of training
        rows, which their variance lacks: Nadeau, Bengio, "Inference for the
        generalization error", 2003, https://doi.org/10.1023/A:1024068626366.

    Returns:
      The names by ``"lower"``, ``"higher"`` and ``"not distinguishable"``, if any.
    """
    found = []
    for name, (first, second) in pairs.items():
        (gain,) = gains.gains({"": first, name: second})
        freedom = len(first) - 1
        away = stats.t.isf(gain.p / 2, freedom) / (1 + overlap * len(first)) ** 0.5
        found.append(gain._replace(p=2 * float(stats.t.sf(away, freedom))))
    order = {gains.BETTER: "lower", gains.WORSE: "higher"}
    names: dict[str, list[str]] = {word: [] for word in (*order.values(), _UNKNOWN)}
    for gain in gains.together(found):
        names[order.get(gain.verdict, _UNKNOWN)].append(gain.name)
    return {word: some for word, some in names.items() if some}


def some_of(names: list[str], among: Mapping[str, Any]) -> str:
    """Some of the methods with noise, or all but the few that are not among them."""
    others = [name for name in among if name not in names]
    if not names or len(names) < len(others):
        return f"{words.listed(names)} only" if names else "none of the noisy methods"
    but = f" but {words.listed(others)}" if others else ""
    return f"all noisy methods{but}"
