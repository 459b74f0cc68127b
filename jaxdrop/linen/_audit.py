"""Linen models in :mod:`jaxdrop.diagnostics`: the functions that an audit needs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import jax
from flax import linen as nn

from jaxdrop._typing import PyTree
from jaxdrop.diagnostics._audit.frameworks import Visit, described
from jaxdrop.diagnostics._audit.modules import (
    delegates,
    rate_of,
    shares_heads,
    technique_of,
)
from jaxdrop.diagnostics._audit.places import marker
from jaxdrop.linen._cells import RecurrentModule
from jaxdrop.linen._module import Stochastic

_STOCHASTIC = (Stochastic, nn.Dropout, nn.MultiHeadDotProductAttention)


def is_model(value: Any, /) -> bool:
    """Whether a value is a model with arrays: those of Linen hold none."""
    del value
    return False


def split(model: Any, /) -> tuple[PyTree, Callable[[PyTree], Any]]:
    """No array, and the model itself."""
    return (), lambda _: model


def state(model: Any, /) -> PyTree:
    """The arrays of a model: none."""
    del model
    return ()


def streams(model: Any, /) -> PyTree:
    """Which of the arrays of a model belong to a stream of keys: none."""
    del model
    return ()


def streams_of_states(tree: PyTree, /) -> dict[Any, Any]:
    """Arrays of streams in the states of models that were split before: none."""
    del tree
    return {}


def call(function: Any, /) -> Callable[..., Any]:
    """The function that is called: of a model, ``apply``."""
    if not isinstance(function, nn.Module):
        return cast(Callable[..., Any], function)

    def apply(*args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], Mapping):
            given = described(args[0]) if args else "nothing"
            raise TypeError(
                f"{type(function).__name__} is a module of Linen, which is called with "
                f"its variables first: audit(module, variables, x), got {given} in "
                "their place; variables = module.init(key, x)."
            )
        return function.apply(*args, **kwargs)

    return apply


@contextlib.contextmanager
def watching(models: list[Any], tell: Callable[[Visit], None], /) -> Iterator[None]:
    """Tells of all calls of stochastic modules, and marks those of all modules."""
    del models

    def tell_of(
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module: Any = context.module
        name = "/".join(module.path) or type(module).__name__
        if context.method_name == "__call__" and isinstance(module, _STOCHASTIC):
            rate = rate_of(module, kwargs)
            if not _draws_elsewhere(module, rate):
                technique = technique_of(type(module))
                shared, other = shares_heads(module), delegates(module)
                tell(Visit(name, technique, rate, shared, other))
        with jax.named_scope(marker(name)):
            return method(*args, **kwargs)

    with nn.intercept_methods(tell_of):
        yield


def _draws_elsewhere(module: Any, rate: Any) -> bool:
    """Whether nothing is to be expected of a call, which does not mean it is off.

    An attention may have no dropout; and what a cell draws when a sequence starts, it
    draws in a method that Linen does not let one intercept.
    """
    if isinstance(module, nn.MultiHeadDotProductAttention):
        return bool(rate == 0)
    return isinstance(module, RecurrentModule) and module.deterministic is not True
