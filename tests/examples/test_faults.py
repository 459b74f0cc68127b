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
from parallel import checkpoints, network, records
from parallel.launching import free_port, is_of_another_process
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


def test_a_record_of_an_older_version_is_refused(tmp_path):
    np.savez(tmp_path / "process_0.npz", losses=np.ones(3), error=0.25)
    message = r"process_0\.npz has no processes, .* start the run again"
    with pytest.raises(records.RecordError, match=message):
        records.read(tmp_path)


def test_a_checkpoint_of_another_run_or_cut_short_is_refused(tmp_path):
    path, tree = tmp_path / "checkpoint.npz", {"kernel": jax.numpy.arange(4.0)}
    load = lambda **kwargs: checkpoints.load(path, tree, **{**expected, **kwargs})
    expected = {"settings": {"seed": 1, "rates": {"hidden": 0.5}}, "steps": 3}
    assert load() == (tree, [])
    after = {"kernel": np.float32([5, 6, 7, 8])}
    checkpoints.save(path, after, [0.5, 0.25], expected["settings"])
    found, losses = load()
    np.testing.assert_array_equal(found["kernel"], after["kernel"])
    assert losses == [0.5, 0.25]
    for other, named in (
        ({"settings": {"seed": 2, "rates": {"hidden": 0.5}}}, "seed is 1 there and 2"),
        ({"settings": {"seed": 1, "rates": {"hidden": 0.4}}}, "rates is .*0.5.* and"),
        ({"settings": {"seed": 1}}, "rates is .* there and None here"),
        ({"steps": 1}, "it has 2 steps, and this one 1"),
    ):
        message = f"is of another run: {named}.*Remove it"
        with pytest.raises(checkpoints.CheckpointError, match=message):
            load(**other)
    whole = path.read_bytes()
    for share in (0, 0.3, 0.7, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(checkpoints.CheckpointError, match="was cut short"):
            load()
    checkpoints.remove(path)
    assert load() == (tree, [])


def test_everything_that_changes_a_run_is_in_its_checkpoint(monkeypatch):
    key = jax.random.key(0)
    described = lambda: network.settings(network.make_mesh(2), key, 0)
    first = described()
    for name in ("RATES", "UNITS", "BATCH_SIZE", "LEARNING_RATE", "MOMENTUM"):
        with monkeypatch.context() as patched:
            patched.setattr(network, name, 128)
            assert described() != first, name
    assert network.settings(network.make_mesh(1), key, 0)["mesh"] != first["mesh"]
    assert network.settings(network.make_mesh(2), key, 1)["seed"] == 1
    rbg = jax.random.key(0, impl="rbg")
    assert network.settings(network.make_mesh(2), rbg, 0) != first


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        ("UNAVAILABLE: the coordination service is unavailable", True),
        ("DEADLINE_EXCEEDED: Barrier timed out", True),
        ("FAILED_PRECONDITION: Gloo all-reduce failed: Connection closed", True),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 68719476736 bytes.", False),
        ("INVALID_ARGUMENT: Argument does not match host shape", False),
        ("INTERNAL: ptxas exited with non-zero error code", False),
    ],
)
def test_only_an_error_of_communication_is_one_of_another_process(message, lost):
    error = jax.errors.JaxRuntimeError(message)
    assert is_of_another_process(error) == lost


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


STEPS = 600
HEARTBEAT = 10


@contextlib.contextmanager
def running(folder, processes):
    """The processes of a run of the example, each with its own log."""
    script = Path(distributed.__file__)
    path = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    flags = {
        "coordinator": f"127.0.0.1:{free_port()}",
        "num-processes": processes,
        "devices": 4 // processes,
        "steps": STEPS,
        "heartbeat": HEARTBEAT,
        "save-every": 50,
        "output": folder,
    }
    options = [part for name, value in flags.items() for part in (f"--{name}", value)]
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                started(
                    [sys.executable, script, *options, "--process-id", rank],
                    folder.with_name(f"{folder.name}_{rank}.log"),
                    {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
                )
            )
            for rank in range(processes)
        ]


@contextlib.contextmanager
def started(command, log, env):
    """A process that does not outlive the test."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*map(str, command)],
            env={**os.environ, **env},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Runs that end, by the number of their processes."""
    done = {}

    def run(processes):
        if processes not in done:
            folder = tmp_path_factory.mktemp("undisturbed") / "run"
            with running(folder, processes) as alive:
                assert [process.wait(timeout=560) for process in alive] == [
                    0
                ] * processes
            done[processes] = records.read(folder)
        return done[processes]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "victim"), [(1, 0), (2, 0), (2, 1)])
def test_a_run_of_which_a_process_is_killed_continues(
    processes, victim, tmp_path, undisturbed
):
    whole, folder = undisturbed(processes), tmp_path / "run"
    saved = folder / "checkpoint.npz"
    with running(folder, processes) as alive:
        while not saved.exists():
            assert [process.poll() for process in alive] == [None] * processes
            time.sleep(0.02)
        alive[victim].kill()
        begin = time.monotonic()
        codes = [process.wait(timeout=100) for process in alive]
        assert codes[victim] == -signal.SIGKILL and 0 not in codes
        assert time.monotonic() - begin < 2 * HEARTBEAT + 10
    for rank in {*range(processes)} - {victim}:
        log = (tmp_path / f"run_{rank}.log").read_text()
        assert "another process has ended" in log or "another task died" in log
    with pytest.raises(records.RecordError, match="start it again"):
        records.read(folder)
    with np.load(saved) as file:
        assert 50 <= len(file["losses"]) < STEPS
        np.testing.assert_array_equal(
            file["losses"], whole.losses[: len(file["losses"])]
        )
    with running(folder, processes) as alive:
        assert [process.wait(timeout=560) for process in alive] == [0] * processes
    run = records.read(folder)
    np.testing.assert_array_equal(run.losses, whole.losses)
    assert records.difference(run, whole) == 0
    assert not saved.exists()
