"""Typical uses of every public name, as type checkers see them.

Those of the dropout family are derived from its table, all others are in ``uses.py``.
"""

import ast
import inspect
import shutil
import subprocess
import types
import typing
from pathlib import Path

import pytest
import uses
from host_arguments import data_of

import jaxdrop
from family import ROWS

TOP = Path(__file__).parents[1]
HEADER = """from typing import Any, assert_type

import jax
from flax import nnx

import jaxdrop


def use(key: jax.Array, x: jax.Array, rngs: nnx.Rngs) -> None:
"""
CHECKERS = {
    "mypy": ["--config-file", str(TOP / "pyproject.toml")],
    "basedpyright": [],
}

USES = [
    f
    for name, f in vars(uses).items()
    if isinstance(f, types.FunctionType)
    and f.__module__ == uses.__name__
    and not name.startswith("_")
]


@pytest.mark.slow
@pytest.mark.parametrize("use", USES, ids=lambda f: f.__name__)
def test_runs(use):
    use()


def public_names(module):
    for name in dir(module):
        found = getattr(module, name)
        if name.startswith("_"):
            continue
        if not inspect.ismodule(found):
            yield name
        elif found.__name__ == f"{module.__name__}.{name}":
            yield from public_names(found)


def uses_of_family():
    """The text of a file: a call of each row, of its function and its modules."""
    lines = []
    for row in ROWS.values():
        returned = typing.get_type_hints(row.function)["return"]
        kind = "Any" if returned is typing.Any else "jax.Array"
        knobs = "".join(f", {name}={value!r}" for name, value in row.knobs.items())
        others = "x, " * (len(data_of(row.function)) - 1)
        call = f"jaxdrop.{row.function.__name__}(key, {others}rate={{}}{knobs})"
        calls = {call.format(rate): kind for rate in ("0.1", "x[0, 0]")}
        if row.module:
            name = f"{row.module}(0.1{knobs}, deterministic=False"
            calls[f"jaxdrop.nnx.{name}, rngs=rngs)(x)"] = "jax.Array"
            calls[f"jaxdrop.linen.{name})(x)"] = "jax.Array"
        lines += [f"assert_type({call}, {kind})" for call, kind in calls.items()]
    return HEADER + "".join(f"    {line}\n" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_family_has_the_types_that_its_table_expects(checker, tmp_path):
    command = shutil.which(checker)
    if not command:
        pytest.skip(f"{checker} is not installed")
    path = tmp_path / "uses_of_family.py"
    path.write_text(uses_of_family())
    found = subprocess.run(
        [command, *CHECKERS[checker], str(path)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_leaves_out_no_public_name():
    tree = ast.parse(Path(uses.__file__).read_text() + uses_of_family())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    public = set(public_names(jaxdrop))
    assert {"dropout", "predict", "EarlyStopping"} <= public
    assert public <= used
