"""Checkpoints that are cut short, for a process of their own.

Where Orbax fails, it leaves reads that complain whenever they are collected, and pytest
would report them in another test.
"""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp


def cut_short(folder: str) -> None:
    """Cuts all files of a checkpoint, and then one at a time."""
    restore_an_older_one(Path(folder) / "all")
    cut_each_file(Path(folder) / "each")


def restore_an_older_one(path: Path) -> None:
    """Cuts all files of the newer of two checkpoints, which Orbax then refuses."""
    state = {"kernel": jnp.arange(4096.0), "step": jnp.int32(5)}
    with ocp.StandardCheckpointer() as saver:
        for step in (1, 2):
            saver.save(path / str(step), {**state, "step": jnp.int32(step)})
        saver.wait_until_finished()
        for file in _files(path / "2"):
            file.write_bytes(_half(file))
        assert not _restored(saver, path / "2", state)
        found = saver.restore(path / "1", state)
    np.testing.assert_array_equal(found["kernel"], state["kernel"])
    assert int(found["step"]) == 1


def cut_each_file(path: Path) -> None:
    """Cuts one file at a time: what is restored is what was saved, or nothing."""
    whole, cut = path / "whole", path / "cut"
    state = {"kernel": jnp.arange(4096.0)}
    refused = 0
    with ocp.StandardCheckpointer() as saver:
        saver.save(whole, state)
        saver.wait_until_finished()
        for file in _files(whole):
            shutil.copytree(whole, cut)
            (cut / file.relative_to(whole)).write_bytes(_half(file))
            found = _restored(saver, cut, state)
            if found:
                np.testing.assert_array_equal(found["kernel"], state["kernel"])
            refused += not found
            shutil.rmtree(cut)
    assert refused >= 3, refused  # manifest, description of the tree, and data


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _half(file: Path) -> bytes:
    return file.read_bytes()[: file.stat().st_size // 2]


def _restored(saver: ocp.StandardCheckpointer, path: Path, state: dict) -> dict:
    """What is restored, nothing if it is refused, by whatever read the file."""
    try:
        return saver.restore(path, state)
    except Exception:
        return {}
