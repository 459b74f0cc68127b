"""How the classes of NNX modules look to Flax, and to those who read signatures."""

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])


class _Untabulated:
    """A method that is not a function of its class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function
        functools.update_wrapper(self, function)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


def untabulated(method: _F) -> _F:
    """Leaves a public method out of ``nnx.tabulate``.

    ``nnx.tabulate`` compiles all public functions of a class, with traced arguments and
    results. That suits a call of the module, and not a method that gives a Python bool,
    or takes one.
    """
    return typing.cast(_F, _Untabulated(method))


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
