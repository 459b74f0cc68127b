"""The technique, rate and sharing of a module, in any framework."""

import functools
import re
import types
from typing import Any

_RATES = ("rate", "dropout_rate")


def technique_of(kind: type, /) -> str:
    """The technique of a class of modules: of jaxdrop the function, else the class.

    Layers that are not named after their function declare it as ``_technique``.
    """
    for base in kind.__mro__:
        package = base.__module__.split(".")
        if package[0] == "jaxdrop":
            snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", base.__name__).lower()
            return str(vars(base).get("_technique", snake))
        if package[0] == "flax":
            return f"{package[0]}.{package[1]}.{base.__name__}"
    return kind.__name__


def shares_heads(module: Any, /) -> bool:
    """Whether a module is an attention that gives all its heads one mask."""
    shares = getattr(module, "broadcast_dropout", False)
    return bool(shares) and getattr(module, "num_heads", 1) > 1


def delegates(module: Any, /) -> bool:
    """Whether a module is an attention whose ``attention_fn`` is a module as well."""
    attend = getattr(module, "attention_fn", None)
    return not isinstance(attend, types.FunctionType | functools.partial | None)


def rate_of(module: Any, kwargs: dict[str, Any], /) -> Any:
    """The rate of a call of a module; None if it has no rate."""
    if kwargs.get("rate") is not None:
        return kwargs["rate"]
    return next(
        (getattr(module, name) for name in _RATES if hasattr(module, name)), None
    )
