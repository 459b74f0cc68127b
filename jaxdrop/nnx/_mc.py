"""One stochastic pass of an NNX model, for :mod:`jaxdrop.mc`."""

import functools
import inspect
import pathlib
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop import _programs
from jaxdrop._checks import require_key
from jaxdrop._errors import named
from jaxdrop._paths import path_hash
from jaxdrop._typing import Key, PyTree
from jaxdrop.nnx._module import StochasticModule


@named
def mc_apply(key: Key, model: nnx.Module, /, *args: Any, **kwargs: Any) -> Any:
    """Runs a model in evaluation mode, with its stochastic modules switched on.

    Switched on is every module with an attribute ``deterministic``: those of jaxdrop,
    ``flax.nnx.Dropout``, and the dropout inside ``flax.nnx.MultiHeadAttention``, also
    where the model passes them ``deterministic=True`` itself: a model with a flag is
    called as for evaluation, say with ``train=False``. Normalization stays in
    evaluation. ``model`` itself is not touched: a copy runs, so this may be called in
    any thread and under any transformation of JAX.

    Each stream of keys in the model restarts from ``key`` and its own path; a module
    without one is given one. The result is a function of the arguments alone.

    Args:
      key: the key of this pass.
      model: an NNX module.
      *args: the arguments of the model.
      **kwargs: its keyword arguments.

    Returns:
      The output of the model.

    Raises:
      ValueError: if the pass changed a statistic of the model, or ``key`` is missing.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), jaxdrop.nnx.Dropout(0.5))
      >>> keys = jax.random.split(jax.random.key(0), 10)
      >>> run = jax.vmap(jaxdrop.nnx.mc_apply, in_axes=(0, None, None))
      >>> run(keys, model, jnp.ones((2, 4))).shape
      (10, 2, 8)
    """
    key = require_key(key, instead="")
    graph, state = nnx.split(model)

    def run(state: PyTree) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        twin = nnx.merge(graph, state, copy=True)
        twin.eval()
        _switch_on(twin, key)
        before = _statistics(twin)
        outputs = twin(*args, **kwargs)
        return outputs, before, _statistics(twin)

    lines: list[str] = []
    noting = _BATCH_STATISTICS.set(lines)
    try:
        outputs, before, after = run(state)
    finally:
        _BATCH_STATISTICS.reset(noting)
    others = [path for path in after if after[path] is not before.get(path)]
    known = [path for path in others if _is_known(before.get(path), after[path])]
    changed = {p for p in known if not _is_equal(before[p], after[p])}
    if len(known) < len(others):  # through a transformation, values have new names
        changed |= set(others) - set(known) - _unchanged(run, state)
    if changed:
        where = f", at {', '.join(lines)}" if lines else ""
        raise ValueError(
            f"the pass changed {', '.join(sorted(changed))} of the model; prediction "
            "must not. Is a normalization layer called with "
            f"use_running_average=False{where}? Call the model as for evaluation, say "
            "with train=False: dropout is switched on all the same."
        )
    return outputs


def _is_known(before: Any, after: Any) -> bool:
    """Whether both values are there to be compared."""
    traced = any(isinstance(value, jax.core.Tracer) for value in (before, after))
    return before is not None and not traced


def _is_equal(before: Any, after: Any) -> bool:
    pair = np.asarray(before), np.asarray(after)
    return pair[0].shape == pair[1].shape and pair[0].tobytes() == pair[1].tobytes()


def _unchanged(run: Callable[[PyTree], Any], state: PyTree) -> set[str]:
    """The statistics that a pass hands on as they are, read from its program."""

    def statistics(state: PyTree) -> tuple[dict[str, Any], dict[str, Any]]:
        _, before, after = run(state)
        return before, {path: after[path] for path in before if path in after}

    program, (before, after) = _programs.traced(statistics, state)
    origins = _programs.forwarded(program)
    # dictionaries are flattened in the order of their sorted names
    start = dict(zip(sorted(before), origins[: len(before)], strict=True))
    end = dict(zip(sorted(after), origins[len(before) :], strict=True))
    return {p for p, origin in end.items() if origin is not None and origin == start[p]}


def _switch_on(model: nnx.Module, key: Key) -> None:
    """Puts a copy of a model into training mode, with streams of the key."""
    node: Any
    for path, node in nnx.iter_graph(model):
        site = jax.random.fold_in(key, path_hash("/".join(map(str, path))))
        if isinstance(node, nnx.RngStream):
            shape = node.key[...].shape
            node.key[...] = jax.random.split(site, shape) if shape else site
            node.count[...] = jnp.zeros_like(node.count[...])
            continue
        if isinstance(node, nnx.Module) and hasattr(node, "deterministic"):
            node.deterministic = False
            # an attention without dropout needs no keys, and has no place for them
            draws = getattr(node, "dropout_rate", None) != 0
            if draws and getattr(node, "rngs", node) is None:
                tag = getattr(node, "rng_collection", "dropout")
                stream = nnx.RngStream(site, tag=tag)
                node.rngs = nnx.data(stream)  # type: ignore[attr-defined]
        if isinstance(node, (StochasticModule, *_FORCED)):
            node.__class__ = _forcing(cast(Hashable, type(node)))


_FORCED = (nnx.Dropout, nnx.MultiHeadAttention, nnx.BatchNorm)
_BATCH_STATISTICS: ContextVar[list[str] | None] = ContextVar("lines", default=None)


@functools.cache
def _forcing(kind: Any) -> Any:
    """A subclass whose calls drop, and not as the model says that calls them.

    Of a normalization, one that notes the line of a call for batch statistics.

    A class survives what makes modules anew from their graph, such as ``nnx.jit``.
    """
    body: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    if issubclass(kind, StochasticModule):
        body["_mode"] = lambda self, deterministic: False
    else:
        noting = issubclass(kind, nnx.BatchNorm)
        body["__call__"] = (_noting if noting else _dropping)(kind.__call__)
    return type(kind)(kind.__name__, (kind,), body)


def _dropping(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **{**kwargs, "deterministic": False})

    return call


def _noting(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(self, *args, **kwargs).arguments
        flag, lines = given.get("use_running_average"), _BATCH_STATISTICS.get()
        if flag is not None and not flag and lines is not None:
            caller: Any = cast(Any, inspect.currentframe()).f_back
            file = pathlib.Path(caller.f_code.co_filename).name
            lines.append(f"{file}:{caller.f_lineno}")
        return method(self, *args, **kwargs)

    return call


def _statistics(model: nnx.Module) -> dict[str, Any]:
    """The arrays of a model by path, without its keys and sown values."""
    passing = (nnx.RngState, nnx.Intermediate)
    state = nnx.state(model, nnx.Not(nnx.Any(*passing)))
    return {
        "/".join(map(str, path)): variable.get_raw_value()
        for path, variable in nnx.to_flat_state(state)
    }
