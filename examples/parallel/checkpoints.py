"""A run after some of its steps: one file, from which all its processes continue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from study.files import read_arrays, write_arrays


class CheckpointError(RuntimeError):
    """A run cannot continue from the checkpoint that is there; the message says why."""


class Saving(NamedTuple):
    """Where and when a run is saved.

    Attributes:
      path: the file, which all processes see.
      every: after how many steps each.
    """

    path: Path
    every: int


def save(
    path: Path, tree: Any, losses: list[float], settings: Mapping[str, Any]
) -> None:
    """Writes a checkpoint; the one before it is there until this one is whole.

    Args:
      path: the file, which process 0 writes.
      tree: parameters and state of the optimizer, as NumPy arrays.
      losses: of all steps so far.
      settings: what the values of the run follow from, as JSON has it.
    """
    if jax.process_index() == 0:
        arrays = {f"leaf_{i}": leaf for i, leaf in enumerate(jax.tree.leaves(tree))}
        write_arrays(path, arrays | {"losses": np.array(losses)}, settings=settings)


def load(
    path: Path, tree: Any, *, settings: Mapping[str, Any], steps: int
) -> tuple[Any, list[float]]:
    """Reads a checkpoint in every process, if there is one.

    Args:
      path: the file.
      tree: parameters and state of the optimizer where the run starts; where their
        arrays lie is where those of the checkpoint are put.
      settings: what the values of the run follow from, as JSON has it.
      steps: of the whole run.

    Returns:
      What the checkpoint has in place of ``tree``, and the losses of all steps before
      it; ``tree`` and no losses without one.

    Raises:
      CheckpointError: if it is cut short or of another run, or if not all processes
        see the same file.
    """
    arrays, there = {"losses": np.zeros(0)}, {}
    if path.is_file():
        arrays, there = read_arrays(path, error=CheckpointError)
    losses = [float(loss) for loss in arrays["losses"]]
    seen = multihost_utils.process_allgather(np.int32(len(losses)))
    if np.unique(seen).size > 1:
        raise CheckpointError(
            f"Not all processes see the same {path}: --output must be a folder that "
            "they share."
        )
    if not losses:
        return tree, losses
    differing = [
        f"{name} is {there.get(name)} there and {settings.get(name)} here"
        for name in sorted({*there, *settings})
        if there.get(name) != settings.get(name)
    ]
    if len(losses) > steps:
        differing.append(f"it has {len(losses)} steps, and this one {steps}")
    if differing:
        raise CheckpointError(
            f"{path} is of another run: {'; '.join(differing)}. Remove it, or choose "
            "another --output."
        )
    leaves, structure = jax.tree.flatten(tree)
    places = [
        _place(arrays[f"leaf_{i}"], leaf.sharding) for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, places), losses


def remove(path: Path) -> None:
    """Removes the checkpoint of a run whose processes have all written their results.

    Started again with the same options, a run that has ended begins anew.
    """
    multihost_utils.sync_global_devices("all results are written")
    if jax.process_index() == 0:
        path.unlink(missing_ok=True)


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at])
