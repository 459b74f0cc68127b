"""Signatures in the API reference are Python that a reader can tell apart."""

import ast
import dataclasses
import inspect
import pathlib
import sys
import types

import pytest

import jaxdrop

DOCS = pathlib.Path(__file__).parents[2] / "docs"
OF_ANY_DTYPE = {jaxdrop.early_stopping.EarlyStopping}  # a host metric: np.ndarray


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import reference

    return reference


def public_values(reference):
    for namespace in (*reference.NAMESPACES, ""):
        module = getattr(jaxdrop, namespace) if namespace else jaxdrop
        for value in map(vars(module).get, module.__all__):
            if inspect.isclass(value) or inspect.isfunction(value):
                yield value


def test_every_signature_can_be_parsed(reference):
    parsed = changed = 0
    for value in public_values(reference):
        signature = str(inspect.signature(value))
        ast.parse(f"def f{reference.readable(signature)}: ...")
        parsed += 1
        changed += "<" in signature
    assert parsed > 100 and changed > 10


def last_names(tree):
    """Of ``a.b.c`` the name c, which is the one that the pages show."""
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and id(node) not in inner
    }


def test_signatures_name_types_as_sources_do_and_no_private_ones(reference):
    for value in public_values(reference):
        signature = reference.readable(str(reference.signature_of(value)))
        names = last_names(ast.parse(f"def f{signature}: ..."))
        assert not names & {"ndarray", "dtype"} or value in OF_ANY_DTYPE, value
        assert not [name for name in names if name.startswith("_")], value


def test_a_class_of_linen_is_shown_with_its_fields(reference):
    for value in map(vars(jaxdrop.linen).get, jaxdrop.linen.__all__):
        if inspect.isclass(value):
            shown = reference.signature_of(value).parameters
            fields = {field.name for field in dataclasses.fields(value) if field.init}
            assert shown.keys() == fields - {"parent"}


def test_autodoc_is_given_these_fields_in_readable_form(reference, monkeypatch):
    text = lambda signature, unqualified_typehints: str(signature)
    for name in ("sphinx", "sphinx.util", "sphinx.util.inspect"):
        stand_in = types.SimpleNamespace(stringify_signature=text)
        monkeypatch.setitem(sys.modules, name, stand_in)
    layer, function = jaxdrop.linen.VariationalDense, jaxdrop.linen.mc_apply
    arguments, _ = reference.sign(None, "class", "", layer, None, "(*args)", None)
    assert arguments.startswith("(features: int, ") and "<" not in arguments
    given = "(f: <function zeros>)", "<class 'int'>"
    assert reference.sign(None, "function", "", function, None, *given) == (
        *("(f: zeros)", "int"),
    )
    assert reference.sign(None, "data", "", 1, None, None, None) == (None, None)


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
        (
            "~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.bool]]",
            "~numpy.typing.NDArray[numpy.bool]",
        ),
        (
            "numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float32]]",
            "~numpy.typing.NDArray[numpy.float32]",
        ),
    ],
    ids=(
        *("function", "address", "local", "jitted", "class", "object", "bool"),
        *("array", "older array"),
    ),
)
def test_values_and_types_are_shown_as_code(reference, given, shown):
    assert reference.readable(f"(x: {given} = 1)") == f"(x: {shown} = 1)"
