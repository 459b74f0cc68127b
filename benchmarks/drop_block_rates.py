"""What drop rate DropBlock realizes, beside what published formulas realize.

For a requested rate, three numbers: the mean over the positions of a square feature
map, the least and the greatest. Ours are measured; those of torchvision (and of the
paper's own TensorFlow code) and of timm are computed from the formulas that they
document, since a position is kept if all seeds that cover it are absent:
``1 - (1 - gamma) ** covers``.

Run it with ``python benchmarks/drop_block_rates.py``.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxdrop

MAPS = ((28, 7), (14, 7), (14, 4), (14, 3), (8, 7), (7, 7), (7, 4), (7, 3), (7, 1))
RATES = (0.05, 0.1, 0.25, 0.5)


def paper_gamma(size: int, side: int, rate: float) -> float:
    """The probability of a seed that all three implementations use."""
    return min(1.0, rate / side**2 * (size / (size - side + 1)) ** 2)


def covers(size: int, side: int, starts: range) -> np.ndarray:
    """How many blocks that start in ``starts`` cover each position of a side."""
    return np.array([sum(s <= p < s + side for s in starts) for p in range(size)])


def of_torchvision(size: int, side: int, rate: float) -> np.ndarray:
    """The realized rates where seeds are drawn only where a block fits."""
    along = covers(size, side, range(size - side + 1))
    return 1 - (1 - paper_gamma(size, side, rate)) ** np.outer(along, along)


def of_timm(size: int, side: int, rate: float) -> np.ndarray:
    """The realized rates where seeds, of the same gamma, are drawn on the whole map."""
    along = covers(size, side, range(-(side // 2), size - side // 2))
    return 1 - (1 - paper_gamma(size, side, rate)) ** np.outer(along, along)


def of_jaxdrop(size: int, side: int, rate: float, *, draws: int) -> np.ndarray:
    """The realized rates of :func:`jaxdrop.drop_block`, measured."""
    x = jnp.ones((draws, size, size, 1), jnp.bfloat16)
    y = jaxdrop.drop_block(jax.random.key(size), x, rate=rate, block_size=side)
    return np.asarray(y == 0)[..., 0].mean(axis=0)


def cell(rates: np.ndarray) -> str:
    return f"{rates.mean():.3f} ({rates.min():.3f} to {rates.max():.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=50_000, help="maps to measure")
    draws = parser.parse_args().draws

    error = 4 * np.sqrt(0.25 / draws)
    table = Table(title=f"realized drop rate; measured ones within {error:.3f}")
    for heading in ("map", "block", "rate", "jaxdrop", "torchvision, paper", "timm"):
        table.add_column(heading, justify="right")
    for size, side in MAPS:
        for rate in RATES:
            ours = of_jaxdrop(size, side, rate, draws=draws)
            peers = (of_torchvision(size, side, rate), of_timm(size, side, rate))
            cells = (cell(rates) for rates in (ours, *peers))
            table.add_row(f"{size}x{size}", str(side), f"{rate:.2f}", *cells)
        table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
