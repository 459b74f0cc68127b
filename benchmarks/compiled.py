"""What dropout costs on TPUs and GPUs, by their compilers, on any machine.

    python benchmarks/compiled.py --target v6e             # or v4, v5e, v5p, h100, a100
    python benchmarks/compiled.py --target h100 --only attention dropout
    python benchmarks/compiled.py --target v5e --only techniques --json techniques.json
    python benchmarks/compiled.py --target v5e --quick     # small, to see that it runs
    python benchmarks/compiled.py --target v5e --size 2048 --skip flax.nnx

It compiles every technique, attention, Monte-Carlo prediction and training steps for
one device, beside Flax and the same without dropout, and reads from the programs which
kernels run, what they read and write, and, for TPUs, the cycles that the compiler
expects. Nothing runs. These are the compiler's figures and no clock's: compare programs
by them; a GPU's arithmetic and what a Pallas kernel reads twice are not in them.

``x least`` is the bytes moved, in multiples of reading what is given and writing what
is given back once. ``light`` is ours with the light generator. Some of Flax's steps
take minutes to compile for a TPU; ``--size 2048`` or ``--skip flax.nnx`` is faster.
"""

import argparse
import dataclasses
import datetime
import os
import pathlib
import shlex
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing runs

import files
import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import compiler
import steps
from compiler import Cost
from programs import FLOOR, Program, in_pass, techniques

TECHNIQUES = "techniques"
HOPPER = ("h100",)
QUICK = ("dropout", "attention", "MLP")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One program of one contender, and what it costs or why that is not known."""

    row: str
    passing: str
    contender: str
    least: int = 0
    cost: Cost | None = None
    failure: str = ""


def programs(
    size: int, lengths: list[int], dtype: Any, target: str = ""
) -> dict[str, Program]:
    """All rows."""
    # Without a GPU, kernels for Hopper GPUs are used on request alone.
    implementation = "mosaic_gpu" if target in HOPPER else None
    all_steps = steps.everything(size, lengths, dtype, implementation)
    return techniques(size, dtype) | all_steps


def chosen(rows: dict[str, Program], only: list[str]) -> dict[str, Program]:
    """Those that one of the words names, or, if it names none, that have it in them.

    ``techniques`` names all rows of :func:`programs.techniques`.
    """
    words = {word.lower() for word in only}
    if TECHNIQUES in words:
        words |= set(techniques(128, jnp.bfloat16))
    names = {name: name.lower() for name in rows}
    parts = words - {TECHNIQUES} - set(names.values())
    found = {
        name: program
        for name, program in rows.items()
        if not only
        or names[name] in words
        or any(part in names[name] for part in parts)
    }
    if not found:
        raise SystemExit(f"--only {' '.join(only)}: no row has such a name.")
    return found


def pending(rows: dict[str, Program], skip: list[str]) -> list[tuple[str, str, str]]:
    """Row, pass and contender of everything that is compiled."""
    return [
        (row, passing, contender)
        for row, program in rows.items()
        for passing in program.passes
        for contender in program.contenders
        if contender not in skip
    ]


def measured(
    device: Any, rows: dict[str, Program], todo: list[tuple[str, str, str]]
) -> Iterator[Entry]:
    """Compiles one after another; what fails says why and stops nothing."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    with tqdm(todo, unit="program", disable=None) as bar:
        for row, passing, contender in bar:
            bar.set_description(f"{row}, {passing}, {contender}")
            program = rows[row]
            entry = Entry(row, passing, contender)
            try:
                function, arrays = in_pass(
                    passing, program.contenders[contender], program.arrays
                )
                given = (key, *arrays)
                cost, _ = compiler.compile_for(device, function, given)
                least = compiler.least(function, given)
                yield dataclasses.replace(entry, cost=cost, least=least)
            except Exception as error:  # a row that fails is a result
                lines = str(error).strip().splitlines() or [""]
                failure = f"{type(error).__name__}: {lines[0][:200]}"
                yield dataclasses.replace(entry, failure=failure)


def table(title: str, entries: list[Entry]) -> Table:
    """One line for each program."""
    drawn = Table(
        title=title,
        caption="by the compiler, not by a clock; + n: without n Pallas kernels",
    )
    for column in ("", "pass", "contender"):
        drawn.add_column(column)
    for column in (
        "kernels",
        "MB moved",
        "x least",
        "MB temporary",
        "Mcycles",
        "of them hashing",
        "hashes (in products)",
        "compile s",
    ):
        drawn.add_column(column, justify="right")
    before = None
    for entry in entries:
        names = (entry.row, entry.passing)
        if before is not None and before != names:
            drawn.add_section()
        shown = names if before != names else ("", "")
        drawn.add_row(*shown, entry.contender, *cells(entry))
        before = names
    return drawn


def cells(entry: Entry) -> list[str]:
    """The figures of a program as they are printed."""
    cost = entry.cost
    if cost is None:
        return [entry.failure, *[""] * 7]
    cycles, hashing = "-", "-"
    if cost.cycles is not None:
        cycles, hashing = (f"{n / 1e6:.3f}" for n in (cost.cycles, cost.hash_cycles))
    if cost.unestimated:
        cycles += f" + {cost.unestimated}"
    return [
        f"{cost.kernels}",
        f"{cost.moved / 1e6:.1f}",
        f"{cost.moved / entry.least:.2f}",
        f"{cost.temporary / 1e6:.1f}",
        cycles,
        hashing,
        f"{cost.hashes} ({cost.hashes_in_products})",
        f"{cost.seconds:.1f}",
    ]


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=compiler.TARGETS, required=True)
    parser.add_argument("--size", type=int, default=8192, help="a multiple of 128")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    lengths = "numbers of keys that attention is compiled for"
    parser.add_argument("--lengths", type=int, nargs="+", help=lengths)
    only = "rows of these names, or whose name has one of these words; techniques: all"
    parser.add_argument("--only", nargs="+", default=[], help=only)
    skip = f"contenders that are left out, such as flax.nnx or '{FLOOR}'"
    parser.add_argument("--skip", nargs="+", default=[], help=skip)
    parser.add_argument("--json", type=pathlib.Path, help="a file for the figures")
    parser.add_argument("--quick", action="store_true", help="few and small")
    options = parser.parse_args(arguments)
    if options.size < 128 or options.size % 128:
        parser.error(f"--size must be a multiple of 128, got {options.size}")
    if options.quick:
        options.size = min(options.size, 256)
        options.only = options.only or list(QUICK)
    options.lengths = options.lengths or ([256] if options.quick else [4096, 16384])
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    try:
        device = compiler.target(options.target)
    except compiler.Unavailable as error:
        sys.exit(str(error))
    dtype = jnp.dtype(options.dtype)
    rows = programs(options.size, options.lengths, dtype, options.target)
    rows = chosen(rows, options.only)
    about = described("compiled.py", options.target, device, arguments)
    about |= {"size": options.size, "dtype": options.dtype}
    print(", ".join(f"{name}: {value}" for name, value in about.items()))
    entries = []
    for entry in measured(device, rows, pending(rows, options.skip)):
        entries.append(entry)
        if options.json:  # a long run that is cut off leaves what it has
            write(options.json, about, entries)
    title = f"{options.target}, {options.dtype}, size {options.size}"
    Console(width=160).print(table(title, entries))
    if options.json:
        print(f"wrote {options.json}")


def described(
    script: str, target: str, device: Any, arguments: list[str] | None
) -> dict[str, Any]:
    """Where figures come from: the command, the device, the version and the date."""
    given = without_json(sys.argv[1:] if arguments is None else arguments)
    return {
        "command": shlex.join(["python", f"benchmarks/{script}", *given]),
        "target": target,
        "device": device.device_kind,
        "jax": jax.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def without_json(arguments: list[str]) -> list[str]:
    """The arguments without the name of a file, which is that of one machine."""
    before = ["", *arguments]
    return [
        argument
        for last, argument in zip(before, arguments, strict=False)
        if last != "--json" and argument.split("=")[0] != "--json"
    ]


def write(path: pathlib.Path, about: dict[str, Any], entries: list[Entry]) -> None:
    files.write_json(path, {**about, "programs": entries})


if __name__ == "__main__":
    main()
