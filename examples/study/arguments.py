"""Command lines: the options that all scripts have, and values that are refused."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

_TIMES = "Times that are not said to have been taken are estimates for two idle cores."


def parser_of(
    description: str, *, compiles_much: bool = False
) -> argparse.ArgumentParser:
    """A parser with ``--quick`` and ``--output``, to which a script adds its options.

    Args:
      description: what the script does and how long it takes: its docstring.
      compiles_much: whether compilation takes most of a short run; then ``--quick``
        lets XLA optimize little.

    Returns:
      The parser.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=_TIMES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    quick = "a short run, to see that all works: about 30 s of CPU or less"
    action = _QuickAndUnoptimized if compiles_much else "store_true"
    parser.add_argument("--quick", action=action, help=quick)
    parser.add_argument(
        "--output", type=folder, default="results", help="where files are written"
    )
    return parser


class _QuickAndUnoptimized(argparse.Action):
    """A flag that also lets XLA optimize little."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        *_: object,
    ) -> None:
        jax.config.update("jax_disable_most_optimizations", True)
        setattr(namespace, self.dest, True)


def add_data(
    parser: argparse.ArgumentParser,
    datasets: Sequence[str],
    *,
    holds: str,
    closed: bool = True,
) -> None:
    """Adds ``--dataset`` and ``--data-dir``.

    Args:
      parser: is given the options.
      datasets: the names of the data sets, the first by default.
      holds: the folders that ``--data-dir`` names the folder of.
      closed: whether other names are refused; otherwise they are those of folders.
    """
    own = "" if closed else ", or a folder of your own"
    parser.add_argument(
        "--dataset",
        choices=datasets if closed else None,
        default=datasets[0],
        metavar="NAME",
        help=f"{', '.join(datasets)}{own}; by default {datasets[0]}",
    )
    folder = f"the folder that holds {holds}; by default the variable JAXDROP_DATA"
    parser.add_argument("--data-dir", type=Path, help=folder)


def add_training(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds options that several scripts have.

    Args:
      parser: is given the options.
      names: of ``train_size``, ``epochs``, ``seeds`` and ``seed``.
    """
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", **_TRAINING[name])


def add_names(
    parser: argparse.ArgumentParser,
    flag: str,
    names: Sequence[str],
    *,
    default: Sequence[str] | None = None,
    note: str = "",
) -> None:
    """Adds an option that takes one or more of some names.

    Args:
      parser: is given the option.
      flag: the option, such as ``"--methods"``.
      names: those that it takes.
      default: the names without the option.
      note: what the help says after the list of names.
    """
    parser.add_argument(
        flag,
        nargs="+",
        choices=names,
        default=default,
        metavar="NAME",
        help=f"{', '.join(names)}{note}",
    )


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, lambda number: number >= 1, "a whole number from 1")


def seed(text: str) -> int:
    """A whole number of at least 0 that JAX and NumPy take."""
    known = "a whole number from 0 to 2³² - 1"
    return _number(text, int, lambda number: 0 <= number < 2**32, known)


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, float, lambda number: 0 < number < np.inf, "a number above 0")


def rate(text: str) -> float:
    """A probability of dropping, from 0 to below 1."""
    known = "a number from 0 to below 1"
    return _number(text, float, lambda number: 0 <= number < 1, known)


def between(text: str, low: float, high: float) -> float:
    """A number in a closed interval."""
    known = f"a number from {low:g} to {high:g}"
    return _number(text, float, lambda number: low <= number <= high, known)


def folder(text: str) -> Path:
    """A folder that files can be written to; it need not exist yet."""
    path = Path(text).expanduser()
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not parent.is_dir():
        raise argparse.ArgumentTypeError(f"{parent} is a file: name a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{parent} must be writable")
    return path


def _number(
    text: str, kind: Callable[[str], Any], holds: Callable[[Any], bool], known: str
) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = np.nan
    if not holds(number):
        raise argparse.ArgumentTypeError(f"must be {known}, got {text}")
    return number


_TRAINING: dict[str, dict[str, Any]] = {
    "train_size": {
        "type": count,
        "help": "train on so many images or characters only",
    },
    "epochs": {"type": count, "help": "in place of the recipe's number"},
    "seeds": {"type": count, "help": "how many networks each method trains"},
    "seed": {"type": seed, "default": 0, "help": "of everything random"},
}
