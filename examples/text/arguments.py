"""The options that the scripts about text have in common."""

import argparse
from pathlib import Path


def parser_of(
    description: str, *, train_size: int, round_steps: int
) -> argparse.ArgumentParser:
    """A parser of the common options.

    Args:
      description: what the script does: its docstring.
      train_size: how many characters it trains on by default.
      round_steps: how many steps a round has.

    Returns:
      The parser, to which a script adds its own options.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--text", type=Path, help="a file in UTF-8, in the place of Python's help")
    size = "the number of characters to train on"
    add("--train-size", type=int, default=train_size, help=size)
    add("--rounds", type=positive, help=f"of {round_steps} steps each")
    add("--seeds", type=positive, help="how many networks each method trains")
    add("--quick", action="store_true", help="a short run, to see that all works")
    add("--output", type=Path, default=Path("results"), help="where files are written")
    return parser


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
