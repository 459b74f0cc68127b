"""The options that the scripts about text have in common."""

import argparse
from pathlib import Path

from study import arguments


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
    parser = arguments.parser_of(description)
    add = parser.add_argument
    add("--text", type=Path, help="a file in UTF-8, in the place of Python's help")
    arguments.add_training(parser, "train_size", "seeds")
    parser.set_defaults(train_size=train_size)
    add("--rounds", type=arguments.count, help=f"of {round_steps} steps each")
    tune = "try strengths on validation text; the test text is left alone"
    add("--tune", action="store_true", help=tune)
    return parser


def strength(text: str) -> float:
    """A factor of rates, from 0 to 10: rates of a twentieth stay below 1."""
    return arguments.between(text, 0, 10)
