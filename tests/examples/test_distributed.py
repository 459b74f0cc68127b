"""One run on many devices: its parts here, and its processes in a slow test."""

import os
import re
import sys
import time
from pathlib import Path

import distributed
import jax
import numpy as np
import pytest

from data import load
from parallel import figures, network, records, tables
from parallel.launching import LaunchError, launch

STEPS = 3


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_processes_print_comes_back_in_their_order():
    printed = launch(
        [python("import os; print(os.environ['WORD'], 1)"), python("print(2)")],
        timeout=60,
        env={"WORD": "hello"},
    )
    assert [text.split() for text in printed] == [["hello", "1"], ["2"]]


def test_a_process_that_fails_ends_the_others_and_says_why(tmp_path):
    waits = python(
        "import os, time, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    fails = python(
        "import pathlib, sys, time\n"
        f"while not pathlib.Path({str(tmp_path / 'pid')!r}).exists(): time.sleep(.01)\n"
        "print('no such device', file=sys.stderr); raise SystemExit(3)"
    )
    start = time.monotonic()
    with pytest.raises(LaunchError) as caught:
        launch([waits, fails], timeout=60)
    message = "Process 1 of 2 failed with exit code 3. The end of its output:"
    assert str(caught.value) == f"{message}\n  | no such device"
    assert time.monotonic() - start < 60
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_processes_that_take_too_long_are_ended(tmp_path):
    stuck = python("import time; print('waiting', flush=True); time.sleep(600)")
    with pytest.raises(LaunchError, match=r"was not done after 1 s.*\n  \| "):
        launch([stuck], timeout=1)
    with pytest.raises(FileNotFoundError):
        launch([stuck, ["no-such-program"]], timeout=60)


@pytest.fixture(scope="module")
def images():
    return load("digits")


def trained(shards, images, folder, num_devices=8, steps=STEPS):
    """A run in this process."""
    mesh = network.make_mesh(shards, jax.devices()[:num_devices])
    params, losses = network.train(mesh, images, seed=0, steps=steps)
    error = network.error_of(mesh, params, images)
    masks = network.drawn_masks(mesh, seed=0, step=steps - 1)
    records.write(folder, losses, error, network.gathered(mesh, params), masks)
    return records.read(folder)


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory):
    shapes = {"one": (1, 1), "data": (1, 8), "both": (2, 8), "model": (8, 8)}
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: trained(shards, images, folder / name, devices)
        for name, (shards, devices) in shapes.items()
    }


@pytest.fixture(scope="module")
def whole(runs):
    """The masks, as the one device of the first run has drawn them."""
    return {site: parts[0].kept for site, parts in runs["one"].parts.items()}


@pytest.mark.slow
def test_all_meshes_learn_the_same_from_the_same_masks(runs, whole):
    for run in runs.values():
        np.testing.assert_allclose(run.losses, runs["one"].losses, rtol=1e-5)
        assert records.difference(run, runs["one"]) < 1e-6
        assert records.agrees(run, whole)
        assert run.error == pytest.approx(runs["one"].error, abs=2e-3)
    assert {name: array.shape for name, array in runs["both"].params.items()} == {
        "hidden/bias": (256,),
        "hidden/kernel": (64, 256),
        "output/bias": (10,),
        "output/kernel": (256, 10),
    }
    assert runs["one"].losses[-1] < runs["one"].losses[0]


@pytest.mark.slow
def test_a_device_draws_no_more_than_it_holds(runs):
    shapes = {
        name: {site: parts[0].kept.shape for site, parts in run.parts.items()}
        for name, run in runs.items()
    }
    assert shapes == {
        "one": {"input": (64, 64), "hidden": (64, 256)},
        "data": {"input": (8, 64), "hidden": (8, 256)},
        "both": {"input": (16, 64), "hidden": (16, 128)},
        "model": {"input": (64, 64), "hidden": (64, 32)},
    }


@pytest.mark.slow
def test_a_mask_that_is_another_or_not_whole_is_noticed(runs, whole):
    parts = runs["both"].parts["hidden"]
    with_parts = lambda parts: runs["both"]._replace(parts={"hidden": parts})
    hidden = {"hidden": whole["hidden"]}
    assert records.agrees(with_parts(parts), hidden)
    assert not records.agrees(with_parts(parts[1:]), hidden)
    same = parts[0]._replace(first=parts[1].first)  # as with a key for all devices
    assert not records.agrees(with_parts([parts[0], same, *parts[2:]]), hidden)


def test_devices_that_do_not_fit_are_refused():
    with pytest.raises(network.LayoutError, match="8 devices cannot hold 64 rows"):
        network.make_mesh(3)


@pytest.mark.slow
def test_tables_and_the_figure_show_all_runs(runs, whole):
    assert len(tables.by_run(runs, whole).columns) == 3
    columns = tables.by_run(runs, whole).columns
    assert list(columns[2].cells) == ["equal"] * 4
    wrong = {site: ~mask for site, mask in whole.items()}
    assert list(tables.by_run(runs, wrong).columns[2].cells) == ["DIFFERENT"] * 4
    assert list(tables.by_step(runs).columns[0].cells) == ["0", "1", "2", "test error"]
    by_device = tables.by_device("both", runs["both"], whole)
    assert list(by_device.columns[-1].cells) == ["yes"] * 8
    assert list(by_device.columns[4].cells)[:2] == ["0:16, 0:128", "0:16, 128:256"]
    figure = figures.draw(whole["hidden"], runs, "hidden")
    assert len(figure.axes) == 3
    assert len(figure.axes[1].patches) == 8


def with_library(monkeypatch):
    """Lets the processes that are started find the library that is tested."""
    root = str(Path(distributed.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [2, 8])
def test_two_processes_learn_what_one_does(shards, images, tmp_path, monkeypatch):
    """Twenty steps, with the data or the units of a layer over both processes."""
    with_library(monkeypatch)
    args = distributed.parse(["--quick"])
    run = distributed.run_here(2, 4, shards, tmp_path / "two", args)
    expected = trained(shards, images, tmp_path / "one", steps=20)
    assert {part.process for part in run.parts["hidden"]} == {0, 1}
    assert len(run.losses) == len(expected.losses) == 20
    np.testing.assert_allclose(run.losses, expected.losses, rtol=1e-5)
    assert records.difference(run, expected) < 1e-6
    for site, parts in run.parts.items():
        for part, same in zip(parts, expected.parts[site], strict=True):
            assert part.first == same.first
            np.testing.assert_array_equal(part.kept, same.kept)


@pytest.mark.slow
def test_one_command_starts_all_and_compares(tmp_path, monkeypatch):
    with_library(monkeypatch)
    script = str(Path(distributed.__file__))
    (printed,) = launch(
        [[sys.executable, script, "--quick", "--output", str(tmp_path)]], timeout=300
    )
    assert len(re.findall(r"e[+-]\d\d +equal", printed)) == 3
    assert len(re.findall(r" yes *$", printed, re.MULTILINE)) == 8
    differences = [float(d) for d in re.findall(r"\d\.\de-\d\d|0\.0e\+00", printed)]
    assert len(differences) == 3 and max(differences) < 1e-5
    assert (tmp_path / "distributed.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_run_that_cannot_be_laid_out_says_so(tmp_path, monkeypatch):
    with_library(monkeypatch)
    script = str(Path(distributed.__file__))
    with pytest.raises(LaunchError) as caught:
        launch([[sys.executable, script, "--model-shards", "3"]], timeout=300)
    assert "8 devices cannot hold" in str(caught.value)
    assert "Traceback" not in str(caught.value)
