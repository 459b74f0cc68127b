"""Types of arrays on a mesh: over which axes they vary, inside ``jax.shard_map``."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from jaxdrop._typing import Array, PyTree


def as_carry(function: Callable[[PyTree], PyTree], state: PyTree, /) -> PyTree:
    """The initial state of a loop, with the types that ``function``, its step, returns.

    On a mesh the type of an array includes the axes along which it varies or is
    sharded. The carry of a loop must have the same type in all steps, but the initial
    state is usually the same on all devices.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return state
    return jax.tree.map(_retyped, state, jax.eval_shape(function, state))


def varying_like(x: Array, other: Array, /) -> Array:
    """``x``, marked as varying along the axes along which ``other`` does."""
    return _varied(x, _varying(jax.typeof(other)))


def _retyped(x: Array, like: jax.ShapeDtypeStruct) -> Array:
    x = _varied(x, _varying(like))
    if any(getattr(like.sharding, "spec", ())):
        x = jax.reshard(x, like.sharding)
    return x


def _varied(x: Array, axes: frozenset[Any]) -> Array:
    missing = tuple(axes - _varying(jax.typeof(x)))
    return lax.pcast(x, missing, to="varying") if missing else x


def _varying(kind: Any) -> frozenset[Any]:
    """The mesh axes along which the devices hold different values."""
    axes: frozenset[Any] = getattr(kind.manual_axis_type, "varying", frozenset())
    return axes
