"""The measured files of the first page say how they were measured, and are drawn."""

import json
import pathlib

import pytest
from matplotlib.figure import Figure

DOCS = pathlib.Path(__file__).parents[2] / "docs"
FILES = sorted((DOCS / "measured").glob("*.json"))


def test_both_files_are_there():
    assert [path.stem for path in FILES] == ["dropout", "gains"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_file_says_how_it_was_measured_and_names_no_machine(path):
    found = json.loads(path.read_text())
    assert found["command"].startswith("python ")
    assert "CPU cores" in found["machine"] and "JAX " in found["versions"]
    for said in ("command", "machine", "versions"):
        assert " /" not in found[said], f"{said} holds a path of one machine"


@pytest.mark.parametrize("name", ["home_gains", "home_time"])
def test_a_picture_holds_every_row(name, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    from pictures import home

    figure = getattr(home, name)()
    assert isinstance(figure, Figure)
    labels = {text.get_text() for ax in figure.axes for text in ax.get_yticklabels()}
    if name == "home_gains":
        rows = {row["name"] for row in home.read("gains")["methods"]}
    else:
        timings = next(iter(home.read("dropout")["run"].values()))
        rows = {home.OURS.get(peer, peer) for peer in timings if peer != home.FLOOR}
    assert rows <= labels
