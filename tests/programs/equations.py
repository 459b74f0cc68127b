"""Programs and their equations."""

from jaxdrop import _programs


def traced(function, *args):
    return _programs.traced(function, *args)[0]


def first(name, function, *args):
    """The first equation of a program with a primitive of this name."""
    equations = traced(function, *args).jaxpr.eqns
    found = [e for e in equations if e.primitive.name in name]
    assert found, f"JAX calls none of {name} here, but {[str(e) for e in equations]}"
    return found[0]
