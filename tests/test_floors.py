"""Imports go down: a file imports from lower floors, or from its own room."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "jaxdrop"

FLOORS = [  # from the ground up; rooms on one floor do not know each other
    {"_typing", "_names"},
    {"_errors"},
    {"_numbers"},
    {"_checks", "_loops", "_norms", "_paths", "_programs", "_sites"},
    {"prng", "keys", "_strengths", "_weights"},
    {"_masks"},
    {
        "_dropout",
        "_attention",
        "masks",
        "inputs",
        "penalties",
        "constraints",
        "schedules",
        "early_stopping",
        "metrics",
    },
    {"mc", "acquisition", "diagnostics", "plots"},
    {"nnx", "linen"},
    {"__init__"},
]
ALLOWED_AT = {  # packages that only some rooms may import
    "flax": {"nnx", "linen"},
    "optax": {"constraints", "schedules", "penalties"},
    "matplotlib": {"plots"},
    "chex": set(),
}
FILES = sorted(ROOT.rglob("*.py"))


def test_the_page_of_the_design_lists_the_floors():
    page = (ROOT.parent / "docs" / "design.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (`.*?`) \|", page, re.MULTILINE)
    listed = {int(number): set(re.findall(r"`(\w+)`", names)) for number, names in rows}
    *floors, _ = FLOORS  # the package itself is above all
    assert listed == dict(enumerate(floors))


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def floor_of(room: str) -> int:
    return next(height for height, rooms in enumerate(FLOORS) if room in rooms)


def imported_names(path: pathlib.Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_room_stands_on_a_floor():
    known = set().union(*FLOORS)
    assert {room_of(path) for path in FILES} <= known


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_or_stay_in_the_room(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "jaxdrop" and parts[1] != room:
            assert floor_of(parts[1]) < floor_of(room), f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_frameworks_stay_in_their_rooms_and_jax_is_used_in_public(path):
    for name in imported_names(path):
        package = name.split(".")[0]
        if package in ALLOWED_AT:
            assert room_of(path) in ALLOWED_AT[package], f"{path} imports {name}"
        assert not name.startswith("jax._src"), f"{path} imports {name}"


def test_techniques_draw_through_prng_or_masks():
    """jax.random may derive a key in a technique, but draws nothing there."""
    deriving = {"fold_in", "split", "key_data", "wrap_key_data", "key_impl", "key"}
    for path in FILES:
        if room_of(path) in ("prng", "keys") or floor_of(room_of(path)) > 5:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and node.value.attr == "random"
                and getattr(node.value.value, "id", "") == "jax"
            ):
                assert node.attr in deriving, f"{path} calls jax.random.{node.attr}"


def test_no_room_is_named_after_nothing():
    top = ROOT.parent
    for folder in ("jaxdrop", "tests", "examples", "benchmarks"):
        for path in (top / folder).rglob("*.py"):
            stem = path.stem.removeprefix("test_").strip("_")
            assert stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
