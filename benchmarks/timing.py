"""How the benchmarks measure: interleaved in one run, medians, ratios to a named peer.

Machines differ and so do minutes. Every contender therefore runs in turn, round after
round, and what is reported is the median of each and its ratio to the first. Freed
memory is kept in the process: otherwise each call pays for the page faults of its fresh
output, an allocator's cost that a training program, which reuses its buffers, does not
have.
"""

import ctypes
import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import files
import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one contender: median and quartiles over rounds."""

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Goal:
    """A ratio that was aimed at, and what was measured."""

    what: str
    at_most: float
    measured: float

    @property
    def holds(self) -> bool:
        """Whether what was measured is what was aimed at."""
        return self.measured <= self.at_most


def keep_freed_memory() -> None:
    """Tells glibc not to return memory to the system; elsewhere does nothing.

    Call it before anything is computed. One arena is for all threads, since those of
    other threads than the first never hold blocks of more than 64 MB.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], *, rounds: int, label: str = ""
) -> dict[str, Timing]:
    """Times each contender once a round, in turn, after one call to warm up.

    Args:
      contenders: functions without arguments that return arrays, by name.
      rounds: how many times each is timed.
      label: what the progress bar says.

    Returns:
      Timings by name.
    """
    for run in contenders.values():
        jax.block_until_ready(run())
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in tqdm(range(rounds), desc=label, leave=False, disable=None):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    return {name: summarize(values) for name, values in seconds.items()}


def summarize(seconds: list[float]) -> Timing:
    """Median and quartiles."""
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Timing(float(median), float(low), float(high))


def describe_machine() -> str:
    """The platform and devices, as every benchmark prints them first."""
    devices = jax.devices()
    kind = devices[0].device_kind
    return f"jax {jax.__version__} on {jax.default_backend()}: {len(devices)} x {kind}"


def print_table(title: str, rows: Mapping[str, Mapping[str, Timing]]) -> None:
    """Prints milliseconds by row and contender, and the ratio to the first of them."""
    names = list(next(iter(rows.values())))
    table = Table(title=title, caption="median ms (times the first column)")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for row, timings in rows.items():
        first = timings[names[0]].median
        cells = [f"{timings[names[0]].median * 1e3:.2f}"]
        for name in names[1:]:
            median = timings[name].median
            cells.append(f"{median * 1e3:.2f} ({median / first:.2f})")
        table.add_row(row, *cells)
    Console(width=max(100, 22 + 17 * len(names))).print(table)


def print_goals(found: Sequence[Goal], caption: str = "") -> None:
    """Prints which of them hold."""
    table = Table(title="What was aimed at", caption=caption)
    for column in ("", "at most", "measured", "holds"):
        table.add_column(column, justify="right" if column == "measured" else "left")
    for goal in found:
        values = f"{goal.at_most:.2f}", f"{goal.measured:.3f}"
        table.add_row(goal.what, *values, "yes" if goal.holds else "no")
    Console(width=100).print(table)


def write_json(path: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Writes results with the machine they were measured on."""
    files.write_json(path, {"machine": describe_machine(), **results})
    print(f"wrote {path}")
