"""What is left when a disk is full, a file is cut short or a process is killed."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import distributed
import jax
import numpy as np
import pytest

from new_process import call_in_new_process
from parallel import records
from study.files import WriteError, replacing

FULL = Path("/dev/full")
LIMIT = 4096


def test_a_result_is_written_whole(tmp_path):
    path = tmp_path / "new" / "result.json"
    for text in ("first", "second"):
        with replacing(path) as partial:
            partial.write_text(text)
            place = partial.stat().st_ino
        assert path.read_text() == text
        assert path.stat().st_ino == place  # renamed at once, and not copied
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_what_was_written_before(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half of it")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_keeps_what_was_written_before(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("before")
    message = r"No space left.*is as it was before\.$"
    with pytest.raises(WriteError, match=message), replacing(path) as partial:
        partial.symlink_to(FULL)
        partial.write_text("after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@contextlib.contextmanager
def files_of_at_most(size):
    """No file may grow beyond a size, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_records_of_a_run_are_whole_or_not_there(tmp_path):
    records.write(tmp_path, np.ones(3), 0.25, {"kernel": np.ones(LIMIT)}, {})
    after = np.zeros(3), 0.5, {"kernel": np.zeros(LIMIT)}, {}
    with files_of_at_most(LIMIT):
        with pytest.raises(WriteError, match=r"File too large.*is as it was before"):
            records.write(tmp_path, *after)
        with pytest.raises(WriteError, match="was not written"):
            records.write(tmp_path / "other", *after)
    run = records.read(tmp_path)
    assert run.error == 0.25 and (run.params["kernel"] == 1).all()
    with pytest.raises(records.RecordError, match="No process has left a file"):
        records.read(tmp_path / "other")


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.999])
def test_a_record_cut_short_is_refused(tmp_path, share):
    params = {"kernel": np.random.default_rng(0).normal(size=64)}
    records.write(tmp_path, np.ones(3), 0.25, params, {})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(records.RecordError, match=r"cut short .* start the run again"):
        records.read(tmp_path)


def left_by(folder, monkeypatch, process, count, loss=1.0):
    """Writes what a process of a run leaves."""
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    records.write(folder, np.full(3, loss), 0.25, {"kernel": np.ones(2)}, {})


def test_a_run_of_which_a_process_left_nothing_is_refused(tmp_path, monkeypatch):
    left_by(tmp_path, monkeypatch, 1, count=2)
    with pytest.raises(records.RecordError, match=r"Process 0 of 2 .* start the run"):
        records.read(tmp_path)
    left_by(tmp_path, monkeypatch, 0, count=2)
    assert records.read(tmp_path).error == 0.25


@pytest.mark.parametrize("later", [{"count": 1}, {"count": 2, "loss": 2.0}], ids=str)
def test_files_of_an_earlier_run_are_noticed(tmp_path, monkeypatch, later):
    for process in range(2):
        left_by(tmp_path, monkeypatch, process, count=2)
    left_by(tmp_path, monkeypatch, 0, **later)
    with pytest.raises(records.RecordError, match=r"are of several runs; remove them"):
        records.read(tmp_path)


def test_a_checkpoint_cut_short_is_refused(tmp_path):
    """Orbax does not restore parts of one, whichever file is cut: an older one is."""
    call_in_new_process("examples.checkpoints", "cut_short", tmp_path)


@contextlib.contextmanager
def running(folder, steps, log=subprocess.DEVNULL):
    """A run of one process of the example, which logs what it compiles."""
    script = Path(distributed.__file__)
    path = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    flags = {"num-processes": 1, "devices": 8, "steps": steps, "output": folder}
    options = [part for name, value in flags.items() for part in (f"--{name}", value)]
    with subprocess.Popen(
        [sys.executable, str(script), *map(str, options)],
        env={
            **{**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
            "JAX_LOG_COMPILES": "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=log,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_and_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with running(whole, steps=20) as process:
        assert process.wait(timeout=250) == 0
    with running(killed, steps=10**6, log=subprocess.PIPE) as process:
        compiled = b"Finished XLA compilation of jit(train_step)"
        assert any(compiled in line for line in process.stderr)
        time.sleep(1)
        assert process.poll() is None  # in the middle of its steps
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert not list(killed.rglob("*"))
    with pytest.raises(records.RecordError, match="start it again"):
        records.read(killed)
    with running(killed, steps=20) as process:
        assert process.wait(timeout=250) == 0
    first, second = records.read(whole), records.read(killed)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert records.difference(first, second) == 0
