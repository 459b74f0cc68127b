"""Signatures in the API reference are Python that a reader can tell apart."""

import ast
import inspect
import pathlib

import pytest

import jaxdrop

DOCS = pathlib.Path(__file__).parents[2] / "docs"


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import reference

    return reference


def test_every_signature_can_be_parsed(reference):
    parsed = changed = 0
    for namespace in (*reference.NAMESPACES, ""):
        module = getattr(jaxdrop, namespace) if namespace else jaxdrop
        for value in map(vars(module).get, module.__all__):
            if inspect.isclass(value) or inspect.isfunction(value):
                signature = str(inspect.signature(value))
                ast.parse(f"def f{reference.readable(signature)}: ...")
                parsed += 1
                changed += "<" in signature
    assert parsed > 100 and changed > 10


@pytest.mark.parametrize(
    "given, shown",
    [
        ("<function zeros>", "zeros"),
        ("<function zeros at 0x7f00ab>", "zeros"),
        ("<function scaling.<locals>.init>", "scaling(...)"),
        ("<PjitFunction of <function tanh at 0x7f00ab>>", "tanh"),
        ("<class 'jax.numpy.float32'>", "jax.numpy.float32"),
        ("<object object at 0x7f00ab>", "..."),
        ("bool | ~numpy.bool | ~jax.Array", "bool | numpy.bool | ~jax.Array"),
    ],
    ids=("function", "address", "local", "jitted", "class", "object", "bool"),
)
def test_values_and_types_are_shown_as_code(reference, given, shown):
    assert reference.readable(f"(x: {given} = 1)") == f"(x: {shown} = 1)"
