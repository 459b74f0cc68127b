"""Errors that start with the name of the public function or class that was called.

A check raises an ordinary error that names the argument. The function that the user
called, or the class whose method it was, adds its own name in front. Where public
functions call each other it is the innermost one, which knows the argument.

Errors of user code and of JAX pass unchanged: an error is the library's if the frame
that raised it is. Python's own error for arguments that do not fit keeps its words, and
a note says which arguments would fit.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar, cast

from jaxdrop._names import keyword_hint

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)

_KINDS = (AssertionError, ImportError, TypeError, ValueError)
_PACKAGE = f"{__name__.partition('.')[0]}."
_DECIDED = "_jaxdrop_decided"
_DUNDERS = ("__init__", "__post_init__", "__call__")

_LONGEST = 300  # characters of a value in a message


def shown(value: object, /) -> str:
    """A value in a message: its ``repr`` in one line, cut off where it is long.

    That of a model or of an array may have hundreds of lines.
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def named(function: _Function, /) -> _Function:
    """Adds the name of a function in front of the errors that it raises."""
    return _decorated(function, lambda args: function.__name__)


def named_as(name: str, /) -> Callable[[_Function], _Function]:
    """Like :func:`named`, with another name than that of the function."""
    return lambda function: _decorated(function, lambda args: name)


def named_with_results(function: _Function, /) -> _Function:
    """Like :func:`named`, also for errors of the functions that it returns.

    Args:
      function: returns a function, or a NamedTuple of functions.
    """
    name = named_as(function.__name__)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if isinstance(result, tuple):
            return type(result)(*map(name, result))
        return name(result) if callable(result) else result

    return cast(_Function, name(call))


def named_method(method: _Function, /) -> _Function:
    """Adds the name of the class in front of the errors of a method."""
    return _decorated(method, lambda args: _class_of(args[0]).__name__)


def named_methods(cls: _Class, /) -> _Class:
    """Applies :func:`named_method` to the public methods that a class defines itself.

    Methods with a leading underscore are called by these.
    """
    for name, method in list(vars(cls).items()):
        is_public = name in _DUNDERS or not name.startswith("_")
        if is_public and inspect.isfunction(method):
            setattr(cls, name, named_method(method))
    return cls


def _class_of(owner: Any) -> type:
    return owner if isinstance(owner, type) else type(owner)


def _decorated(
    function: _Function, name_of: Callable[[tuple[Any, ...]], str]
) -> _Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _KINDS as error:
            if _does_not_fit(error, function, args, kwargs):
                _name_class(error, getattr(function, "__qualname__", ""), args)
                if f"{function.__name__}()" not in str(error):  # as of a signature
                    error.args = (f"{name_of(args)}: {error}",)
                error.add_note(_which_fit(function, name_of(args), args, kwargs))
                setattr(error, _DECIDED, True)
            else:
                _decide(error, lambda: name_of(args))
            raise

    return cast(_Function, call)


def _does_not_fit(
    error: Exception,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> bool:
    """Whether it is Python's error for a call whose arguments do not fit.

    Python raises it where the call stands: in a frame of this file, or where a wrapper
    binds the arguments.
    """
    raised_in = _last_frame(error.__traceback__)
    if not isinstance(error, TypeError) or raised_in not in (__name__, "inspect"):
        return False
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return True
    return False


def _which_fit(
    function: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    given: Iterable[str],
) -> str:
    """A sentence about a keyword of another library, or the arguments of a function."""
    method = function.__name__
    of_class = method == "__init__"
    signature = inspect.signature(type(args[0]) if of_class else function)
    if hint := keyword_hint(given, signature.parameters):
        return hint
    parameters = [
        parameter.replace(annotation=parameter.empty, default=_short(parameter.default))
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    called = f"{name}.{method}" if "self" in signature.parameters else name
    return f"It is called as {called}{inspect.Signature(parameters)}."


class _Omitted:
    """A default that is too long to be shown."""

    def __repr__(self) -> str:
        return "..."


def _short(default: Any) -> Any:
    is_short = isinstance(default, bool | int | float | str | tuple | None)
    return default if is_short or default is inspect.Parameter.empty else _Omitted()


def _name_class(error: Exception, qualified: str, args: tuple[Any, ...]) -> None:
    """Names a method after the public class that inherits it, not after its base."""
    base, _, method = qualified.rpartition(".")
    if not args or not base or "<locals>" in base:
        return
    inherits = (
        c for c in _class_of(args[0]).__mro__ if f"{c.__module__}.".startswith(_PACKAGE)
    )
    if known := next(inherits, None):
        said = str(error).replace(f"{qualified}()", f"{known.__name__}.{method}()", 1)
        error.args = (said,)


def _decide(error: Exception, name: Callable[[], str]) -> None:
    """Adds the name if the error is the library's; only once for each error.

    The innermost function decides: when JAX has removed its own frames from the
    traceback, further out, errors of JAX cannot be distinguished any more.
    """
    if type(error) not in _KINDS or hasattr(error, _DECIDED):
        return
    setattr(error, _DECIDED, True)
    if _is_ours(error.__traceback__):
        error.args = (f"{name()}: {error}",)


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether the last frame, after the decorator's own, is one of this package."""
    return _last_frame(traceback and traceback.tb_next).startswith(_PACKAGE)


def _last_frame(traceback: TracebackType | None) -> str:
    """The name of the module of the last frame, where the error was raised."""
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__", "") if traceback else ""
    return str(module)
