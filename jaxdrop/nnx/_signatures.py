"""How the classes of NNX modules look to those who read signatures."""

import inspect
import typing
from typing import Any


def _nothing() -> None:
    """Stands for a constructor that a class does not have."""


def expand_options(cls: type, /) -> inspect.Signature:
    """The signature of a class, with each keyword that ``**options`` stands for.

    Args:
      cls: a class whose constructor may have ``**options: Unpack[SomeTypedDict]``.
        Their defaults are those of the constructors that it inherits.
    """
    defaults = {
        parameter.name: parameter.default
        for base in reversed(cls.__mro__[1:-1])
        for parameter in inspect.signature(
            vars(base).get("__init__", _nothing)
        ).parameters.values()
    }
    constructor: Any = vars(cls).get("__init__", cls.__init__)  # type: ignore[misc]
    _, *parameters = inspect.signature(constructor).parameters.values()
    expanded = []
    for parameter in parameters:
        options = typing.get_args(parameter.annotation)
        if parameter.kind is not parameter.VAR_KEYWORD or not options:
            expanded.append(parameter)
            continue
        for name, annotation in typing.get_type_hints(options[0]).items():
            default = defaults.get(name, parameter.empty)
            expanded.append(
                parameter.replace(
                    name=name,
                    kind=parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=annotation,
                )
            )
    return inspect.Signature(expanded)
