"""Draws every figure that the README and the site show.

    python -m docs.figures
    python -m docs.figures measured/gains.svg
    python -m docs.figures --png look

Figures are drawn from the files in ``docs/measured`` and by calls of the library; none
is made by hand. Those of the README are kept in the repository, those of the site are
drawn by its build too. ``--png`` draws into another folder, to look at: at the size at
which the site shows them, on white.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import pictures  # noqa: E402
from pictures import canvas, home  # noqa: E402

FIGURES: dict[str, Callable[[], Figure]] = {
    "measured/gains.svg": home.home_gains,
    **{f"_pictures/{name}.svg": draw for name, draw in pictures.DRAWINGS.items()},
}
"""A function that returns a figure, by the path of its file in this folder."""


def write(names: Sequence[str], *, png: pathlib.Path | None = None) -> None:
    """Draws figures: where they belong, or as PNG files into a folder."""
    for name in names:
        path = HERE / name if png is None else png / f"{pathlib.Path(name).stem}.png"
        canvas.save(FIGURES[name], path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the figures that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="FIGURE", help="all by default")
    add("--png", type=pathlib.Path, metavar="FOLDER", help="where to draw PNG files")
    add("--list", action="store_true", help="print the names")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(FIGURES))
        return
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        parser.error(f"{unknown[0]} is not a figure; --list prints the names")
    write(options.names or list(FIGURES), png=options.png)


if __name__ == "__main__":
    main()
