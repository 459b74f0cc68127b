"""What the processes of a run leave behind, and how runs compare."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from study.files import read_arrays, write_arrays

_ALWAYS = ("losses", "error", "processes")  # arrays that every file has


class RecordError(RuntimeError):
    """What a run should have left is not there, or not whole."""


class Part(NamedTuple):
    """What one device drew of the mask of a site.

    Attributes:
      process: the process of the device.
      device: the place of the device among all, from 0.
      first: the row and column of the whole mask where the part begins.
      kept: ``(rows, columns)``, True where an entry is kept.
    """

    process: int
    device: int
    first: tuple[int, int]
    kept: np.ndarray

    def within(self, whole: np.ndarray) -> np.ndarray:
        """The entries of a whole mask that this part has."""
        (row, column), (rows, columns) = self.first, self.kept.shape
        return whole[row : row + rows, column : column + columns]


class Run(NamedTuple):
    """A run, gathered from all its processes.

    Attributes:
      losses: ``(steps,)`` losses.
      error: the share of test images that the trained network tells wrongly.
      params: arrays by their path.
      parts: by site, what each device drew in the last step.
    """

    losses: np.ndarray
    error: float
    params: dict[str, np.ndarray]
    parts: dict[str, list[Part]]


def write(
    folder: Path, losses: np.ndarray, error: float, params: Any, masks: dict[str, Array]
) -> None:
    """Writes the part of this process of a run: a file of its own.

    Args:
      folder: where, shared by all processes.
      losses: of all steps.
      error: on test images.
      params: a tree of NumPy arrays, whole.
      masks: by site, a global array; only what lies here is written.
    """
    arrays: dict[str, Any] = {"losses": losses, "error": np.float64(error)}
    arrays["processes"] = np.int64(jax.process_count())
    for path, leaf in jax.tree.leaves_with_path(params):
        arrays[f"params/{jax.tree_util.keystr(path, simple=True, separator='/')}"] = (
            leaf
        )
    places = {device.id: place for place, device in enumerate(jax.devices())}
    for site, mask in masks.items():
        for shard in mask.addressable_shards:
            first = [along.start or 0 for along in shard.index]
            name = f"masks/{site}/{places[shard.device.id]}"
            arrays[f"{name}/first"] = np.array(first)
            arrays[f"{name}/kept"] = np.asarray(shard.data)
    write_arrays(folder / f"process_{jax.process_index()}.npz", arrays)


def read(folder: Path) -> Run:
    """Reads what all processes of a run have written.

    Raises:
      RecordError: if there is none, a file was cut short, a process has left none, or
        files are of several runs.
    """
    run = Run(np.zeros(0), np.nan, {}, {})
    paths = sorted(folder.glob("process_*.npz"))
    if not paths:
        raise RecordError(f"No process has left a file in {folder}; start it again.")
    found = {int(path.stem.removeprefix("process_")): _load(path) for path in paths}
    _check_whole(folder, found)
    for process, arrays in found.items():
        run = run._replace(losses=arrays["losses"], error=float(arrays["error"]))
        for name, array in arrays.items():
            kind, *rest = name.split("/")
            if kind == "params":
                run.params["/".join(rest)] = array
            elif name.endswith("/kept"):
                site, device, _ = rest
                first = tuple(arrays[name.removesuffix("kept") + "first"].tolist())
                part = Part(process, int(device), first, array)
                run.parts.setdefault(site, []).append(part)
    for parts in run.parts.values():
        parts.sort(key=lambda part: part.device)
    return run


def _load(path: Path) -> dict[str, np.ndarray]:
    arrays, _ = read_arrays(path, error=RecordError)
    if missing := [name for name in _ALWAYS if name not in arrays]:
        raise RecordError(
            f"{path} has no {' and no '.join(missing)}, as files of older versions of "
            "this example; remove it, and start the run again."
        )
    return arrays


def _check_whole(folder: Path, found: dict[int, dict[str, np.ndarray]]) -> None:
    """Fails unless the files are those of all processes of one run."""
    first, *others = found.values()
    count, losses = int(first["processes"]), first["losses"]
    for other in others:
        same = losses.shape == other["losses"].shape and count == other["processes"]
        if not same or not np.allclose(losses, other["losses"], equal_nan=True):
            raise RecordError(
                f"The files in {folder} are of several runs; remove them, and start "
                "the run again."
            )
    if missing := set(range(count)) - set(found):
        raise RecordError(
            f"Process {min(missing)} of {count} has left no file in {folder}; start "
            "the run again."
        )


def difference(a: Run, b: Run) -> float:
    """The largest difference between any two parameters."""
    return max(
        float(np.abs(a.params[name] - b.params[name]).max()) for name in a.params
    )


def agrees(run: Run, whole: dict[str, np.ndarray]) -> bool:
    """Whether all devices together drew the whole masks, each its own part of them.

    Args:
      run: a run.
      whole: by site, the mask as one device draws it.
    """
    return all(
        np.array_equal(part.kept, part.within(whole[site]))
        for site, parts in run.parts.items()
        for part in parts
    ) and all(covered(run.parts[site], mask.shape) for site, mask in whole.items())


def covered(parts: list[Part], shape: tuple[int, ...]) -> bool:
    """Whether every entry of a mask of that shape is in a part."""
    seen = np.zeros(shape, bool)
    for part in parts:
        part.within(seen)[...] = True
    return bool(seen.all())
