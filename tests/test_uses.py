"""The file of typical uses, which type checkers read, runs and leaves out no name."""

import ast
import inspect
import types
from pathlib import Path

import pytest
import uses

import jaxdrop

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


def test_leaves_out_no_public_name():
    tree = ast.parse(Path(uses.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    public = set(public_names(jaxdrop))
    assert {"dropout", "predict", "EarlyStopping"} <= public
    assert public <= used
