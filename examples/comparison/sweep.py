"""Sweeps: all strengths and all seeds of a method as one program.

A rate or a coefficient is data: another one needs no other program. ``runs`` maps a
function over both at once, ``strengths`` one that maps over seeds itself; ``choose``
then picks a strength by its validation scores.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Role = Literal["strength", "seed", "run", "common"]
_BY_STRENGTH = {"strength": 0, "seed": None, "run": 0, "common": None}
_BY_SEED = {"strength": None, "seed": 0, "run": 0, "common": None}


def grid(**values: tuple[float, ...]) -> dict[str, Array]:
    """All combinations of some values, as arrays of one length by name.

    Without values there is one combination, of nothing.
    """
    columns = zip(*itertools.product(*values.values()), strict=True)
    return {
        name: jnp.asarray(column, jnp.float32)
        for name, column in zip(values, columns, strict=True)
    }


def size(grid: dict[str, Array]) -> int:
    """How many combinations a grid has."""
    return len(next(iter(grid.values()), (None,)))


def strengths(
    function: Callable[..., Any], num_strengths: int, *roles: Role
) -> Callable[..., Any]:
    """Maps a function of one strength, and of all seeds, over all strengths.

    Args:
      function: what the runs of one strength compute.
      num_strengths: how many strengths there are.
      *roles: for each argument what its leading axes count: ``"strength"`` and
        ``"seed"`` have one, ``"run"`` has both, ``"common"`` has none.

    Returns:
      A function whose outputs have a leading axis of strengths.
    """
    axes = tuple(_BY_STRENGTH[role] for role in roles)
    return jax.vmap(function, in_axes=axes, axis_size=num_strengths)


def runs(
    function: Callable[..., Any], num_strengths: int, *roles: Role
) -> Callable[..., Any]:
    """Maps a function of one run over all strengths and all seeds.

    Args:
      function: what a single run computes.
      num_strengths: how many strengths there are.
      *roles: as for :func:`strengths`.

    Returns:
      A function whose outputs have two leading axes, of strengths and of seeds.
    """
    of_seeds = jax.vmap(function, in_axes=tuple(_BY_SEED[role] for role in roles))
    return strengths(of_seeds, num_strengths, *roles)


def at(tree: Any, index: int) -> Any:
    """The part of one strength."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def choose(error: np.ndarray, loss: np.ndarray) -> int:
    """The strength with the least mean error over seeds; of equal ones, least loss.

    Args:
      error: validation errors, ``(strengths, seeds)``.
      loss: validation losses, likewise.

    Returns:
      Its index. A strength at which a run diverged to NaN is never better.
    """
    means = zip(error.mean(1).tolist(), loss.mean(1).tolist(), strict=True)
    pairs = [tuple(np.nan_to_num(pair, nan=np.inf)) for pair in means]
    return min(range(len(pairs)), key=pairs.__getitem__)
