"""One run on one accelerator: is it right, and how long does it take.

    python benchmarks/accelerator.py                  # less than 8 minutes on one GPU
    python benchmarks/accelerator.py --budget 200     # leave out what comes later
    python benchmarks/accelerator.py --quick          # seconds, on a CPU, to try it

First masks are compared with the host's, and techniques and attention with double
precision. Then dropout, attention, training steps, Monte-Carlo prediction, every
technique and a sweep of rates are timed beside Flax, cuDNN without dropout and PyTorch
with it, as far as they are installed. Contenders of a row run in turn, and the median
is shown, with its ratios to a measured copy of the row's arrays (read what is given,
write what is given back) and to the row's first contender. A row that fails says why;
when the budget is used up, the rest is named and skipped. The file of results is
written after each row.
"""

import argparse
import dataclasses
import importlib.util
import os
import pathlib
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch has a share

import files
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import checks
import peers
import steps
from compiler import least
from programs import BOTH, OURS, Program, in_pass, techniques
from timing import describe_machine

COPY = "copy"


@dataclasses.dataclass
class Sizes:
    """How large everything is."""

    dropout: int = 8192
    techniques: int = 4096
    steps: int = 8192
    checked: int = 256
    lengths: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
    heads: int = 16
    features: int = 128
    rounds: int = 7
    rates: int = 8
    only: tuple[str, ...] = ()


QUICK = Sizes(
    dropout=128,
    techniques=128,
    steps=128,
    checked=64,
    lengths=(64,),
    heads=2,
    features=16,
    rounds=2,
    rates=0,
    only=("dropout", "mixout", "MLP"),
)


@dataclasses.dataclass(frozen=True)
class Result:
    """The figures of one contender of one row, or why there are none."""

    row: str
    contender: str
    milliseconds: float | None = None
    of_copy: float | None = None
    of_first: float | None = None
    failure: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row that is still to be run; ``run`` gives its results."""

    name: str
    run: Callable[[], list[Any]]


def seconds_of(run: Callable[[], Any], calls: int) -> float:
    """What a call takes, of several that are started without waiting."""
    start = time.perf_counter()
    for _ in range(calls):
        result = run()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def timed(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float | str]:
    """Median seconds by contender, in turn, or why it fails.

    A sample is as many calls as take 20 ms, so that starting them is not what is timed.
    """
    found: dict[str, float | str] = {}
    calls: dict[str, int] = {}
    for name, run in runs.items():
        try:
            jax.block_until_ready(run())
            calls[name] = int(np.clip(0.02 / max(seconds_of(run, 1), 1e-6), 1, 50))
        except Exception as error:
            found[name] = reason(error)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, count in calls.items():
            samples[name].append(seconds_of(runs[name], count))
    return found | {name: float(np.median(s)) for name, s in samples.items()}


def reason(error: Exception) -> str:
    """The first line of an error."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


@dataclasses.dataclass
class Clock:
    """How contenders are timed, and the rate of a copy that they are compared with."""

    rounds: int
    bytes_per_second: float = float("nan")

    def copy(self, size: int) -> list[Result]:
        """Measures the copy of an array."""
        x = jnp.ones((size, size), jnp.float32)
        copied = jax.jit(jnp.copy)
        found = timed({COPY: lambda: copied(x)}, self.rounds)[COPY]
        if isinstance(found, str):
            return [Result(f"copy, {size} x {size}", COPY, failure=found)]
        self.bytes_per_second = 2 * x.nbytes / found
        name = f"copy, {self.bytes_per_second / 1e9:.0f} GB/s"
        return [Result(name, COPY, found * 1e3, 1.0, 1.0)]

    def compare(
        self,
        row: str,
        program: Program,
        passing: str,
        others: peers.Makers | None = None,
    ) -> list[Result]:
        """Times the contenders of a program and others; those that fail say why."""
        key = jax.random.key(0)
        ours, shapes = in_pass(passing, program.ours, program.arrays)
        arrays = checks.data(shapes)
        makers = {
            name: partial(self._ready, passing, contender, program, key, arrays)
            for name, contender in program.contenders.items()
        }
        ready, failures = peers.made(makers | (others or {}))
        found: dict[str, float | str] = {n: reason(e) for n, e in failures.items()}
        found |= timed(ready, self.rounds)
        return self.results(row, found, least(ours, (key, *arrays)))

    def _ready(
        self,
        passing: str,
        contender: Callable[..., Any],
        program: Program,
        key: jax.Array,
        arrays: tuple[Any, ...],
    ) -> Callable[[], Any]:
        function, _ = in_pass(passing, contender, program.arrays)
        return partial(jax.jit(function), key, *arrays)

    def results(
        self, row: str, found: dict[str, float | str], moved: int
    ) -> list[Result]:
        """Seconds as figures, with ratios."""
        first = found.get(OURS)
        results = []
        for name, seconds in found.items():
            if isinstance(seconds, str):
                results.append(Result(row, name, failure=seconds))
                continue
            of_copy = seconds / (moved / self.bytes_per_second)
            of_first = seconds / first if isinstance(first, float) else None
            results.append(Result(row, name, seconds * 1e3, of_copy, of_first))
        return results


def checked(sizes: Sizes) -> Iterator[Row]:
    """The comparisons with the host and with double precision."""
    yield Row("masks", lambda: checks.same_masks(sizes.checked))
    for name, program in techniques(sizes.checked, jnp.float32).items():
        if not sizes.only or name in sizes.only:
            yield Row(name, lambda n=name, p=program: [checks.technique(n, p)])
    for case in checks.CASES if not sizes.only else [checks.SMALL]:
        for generator in checks.KEYS:
            yield Row(
                f"{case.name}, {generator}",
                lambda case=case, generator=generator: [
                    checks.attention(case, generator)
                ],
            )


def rows(sizes: Sizes, clock: Clock) -> Iterator[Row]:
    """What is timed, the most wanted first."""
    yield Row("copy", lambda: clock.copy(sizes.dropout))
    for dtype in (jnp.bfloat16, jnp.float32):
        program = techniques(sizes.dropout, dtype)["dropout"]
        for passing in program.passes:
            row = f"dropout, {jnp.dtype(dtype).name}, {passing}"
            others = peers.dropout(program.arrays[0], passing == BOTH)
            yield _row(clock, row, program, passing, others)
    for length in sizes.lengths:
        program = steps.attention(length, jnp.bfloat16, sizes.heads, sizes.features)
        for passing in program.passes:
            row = f"attention, {length} keys, {passing}"
            others = peers.attention(program.arrays[0], passing == BOTH)
            yield _row(clock, row, program, passing, others)
    for name, program in steps.everything(sizes.steps, [], jnp.bfloat16).items():
        if not sizes.only or any(word in name for word in sizes.only):
            yield _row(clock, name, program, program.passes[0])
    for name, program in techniques(sizes.techniques, jnp.bfloat16).items():
        passing = program.passes[-1]
        if not sizes.only or name in sizes.only:
            yield _row(clock, f"{name}, {passing}", program, passing)
    if sizes.rates:
        yield Row("sweep", lambda: sweep(sizes.rates))


def _row(
    clock: Clock,
    row: str,
    program: Program,
    passing: str,
    others: peers.Makers | None = None,
) -> Row:
    return Row(row, partial(clock.compare, row, program, passing, others))


def sweep(rates: int) -> list[Result]:
    """A sweep of rates as one program, and with a program for each rate."""
    import sweep as sweeping
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = jnp.asarray(digits.data[:500] / 16, jnp.float32)
    y = jnp.asarray(digits.target[:500])
    training = sweeping.Training(x, y, 128, 300)
    values = jnp.linspace(0.05, 0.8, rates)
    keys = jax.random.split(jax.random.key(0), 8)
    found: dict[str, float] = {}
    for name in (next(iter(sweeping.WAYS)), list(sweeping.WAYS)[-1]):
        cost = sweeping.WAYS[name](training, values, keys)
        found[name] = cost.compile_seconds + cost.run_seconds
    first = next(iter(found.values()))
    row = f"sweep, {rates} rates x 8 seeds, with compilation"
    return [Result(row, n, s * 1e3, None, s / first) for n, s in found.items()]


@dataclasses.dataclass
class Session:
    """What was run, and what there is time for."""

    budget: float
    output: pathlib.Path
    about: dict[str, Any]
    start: float = dataclasses.field(default_factory=time.perf_counter)
    compared: list[checks.Check] = dataclasses.field(default_factory=list)
    results: list[Result] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def run(self, todo: list[Row]) -> None:
        """Runs the rows that there is time for; what fails stops no other."""
        with tqdm(todo, unit="row", disable=None) as bar:
            for row in bar:
                if self.used > self.budget:
                    self.skipped.append(row.name)
                    continue
                bar.set_description(row.name)
                try:
                    found = row.run()
                except Exception as error:
                    found = [Result(row.name, OURS, failure=reason(error))]
                for one in found:
                    kept = (
                        self.compared if isinstance(one, checks.Check) else self.results
                    )
                    kept.append(one)
                self.write()

    def write(self) -> None:
        """Writes what there is."""
        held = [dataclasses.asdict(c) | {"holds": c.holds} for c in self.compared]
        plain = {
            **self.about,
            "seconds": self.used,
            "checks": held,
            "results": self.results,
            "skipped": self.skipped,
        }
        files.write_json(self.output, plain)


def print_checks(found: list[checks.Check]) -> None:
    table = Table(title="Against double precision, the host and jax.random")
    for column in ("", "error", "at most", "holds"):
        table.add_column(column)
    for check in found:
        holds = "yes" if check.holds else "NO"
        table.add_row(check.name, f"{check.error:.1e}", f"{check.at_most:.0e}", holds)
    Console(width=100).print(table)


def print_results(found: list[Result]) -> None:
    table = Table(title="Times", caption="x copy: of a copy of the row's arrays")
    table.add_column("")
    table.add_column("contender")
    for column in ("ms", "x copy", "x first"):
        table.add_column(column, justify="right")
    before = ""
    for result in found:
        if result.row != before and before:
            table.add_section()
        shown = [f"{v:.3g}" if v is not None else "-" for v in _figures(result)]
        cells = [result.failure, "", ""] if result.failure else shown
        name = "" if result.row == before else result.row
        table.add_row(name, result.contender, *cells)
        before = result.row
    Console(width=130).print(table)


def _figures(result: Result) -> tuple[float | None, ...]:
    return result.milliseconds, result.of_copy, result.of_first


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    budget = "seconds after which no further row is begun"
    parser.add_argument("--budget", type=float, default=420, help=budget)
    quick = "small sizes, in seconds, also on a CPU"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("results/accelerator.json")
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> Session:
    options = parsed(arguments)
    machine = describe_machine()
    print(machine)
    quick = options.quick
    if jax.default_backend() == "cpu" and not quick:
        print("JAX sees no accelerator here: running --quick, whose times say nothing.")
        quick = True
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: its rows are left out.")
    sizes = QUICK if quick else Sizes()
    about = {
        "machine": machine,
        "python": platform.python_version(),
        "quick": quick,
        "sizes": dataclasses.asdict(sizes),
    }
    session = Session(options.budget, options.output, about)
    clock = Clock(sizes.rounds)
    session.run([*checked(sizes), *rows(sizes, clock)])
    session.write()
    print_checks(session.compared)
    print_results(session.results)
    if session.skipped:
        print(f"No time was left for: {'; '.join(session.skipped)}.")
    wrong = [check.name for check in session.compared if not check.holds]
    print(f"WRONG: {'; '.join(wrong)}." if wrong else "All checks hold.")
    print(f"{session.used:.0f} s; wrote {options.output}")
    return session


if __name__ == "__main__":
    main()
