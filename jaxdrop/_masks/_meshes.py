"""Arrays that are sharded over an explicit mesh, where operations need more of them."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdrop._masks._axes import sharding_of, unspread
from jaxdrop._typing import Array, Axes

_P = ParamSpec("_P")
_R = TypeVar("_R")


def whole(x: Array, axes: Axes, /) -> Array:
    """``x``, none of whose ``axes`` is sharded over an explicit mesh.

    Axes may be counted from the end, as those of a single example are.
    """
    sharding = sharding_of(x)
    counted = tuple(axis % x.ndim for axis in axes)
    if sharding is None or not any(sharding.spec[axis] for axis in counted):
        return x
    return jax.reshard(x, unspread(sharding, counted, ndim=x.ndim))


def automatic(
    function: Callable[_P, _R], /, *, out_sharding: NamedSharding | None = None
) -> Callable[_P, _R]:
    """``function``, which takes arrays of an explicit mesh as if it were automatic.

    On an explicit mesh each operation must know how its output is sharded, and some are
    refused: to sort, slice or index along a sharded axis, to multiply matrices whose
    common axis is sharded, to add arrays that are sharded in different ways. Here they
    need not know: the compiler decides, and moves data as needed. Outputs, which must
    be arrays, have ``out_sharding``, or are whole on every device.

    Arrays that ``function`` closes over must not be sharded over the mesh: only its
    arguments are given to the compiler. So it must not call functions of the caller.
    """
    of_any: Callable[..., Any] = function

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        leaves, tree = jax.tree.flatten((args, kwargs))
        mesh = _explicit_mesh(leaves)
        if mesh is None:
            return function(*args, **kwargs)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]

        def of_arrays(*arrays: Array) -> Any:
            given: list[Any] = list(leaves)
            for place, array in zip(places, arrays, strict=True):
                given[place] = array
            args, kwargs = jax.tree.unflatten(tree, given)
            return of_any(*args, **kwargs)

        spread_as = out_sharding or NamedSharding(mesh, PartitionSpec())
        kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
        axes = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
        run: Any = jax.sharding.auto_axes(of_arrays, axes=axes, out_sharding=spread_as)
        result: _R = run(*(leaves[place] for place in places))
        return result

    return call


def _explicit_mesh(leaves: list[Any]) -> Any:
    """The mesh of the first array that is on an explicit mesh, or None if none is."""
    for leaf in leaves:
        if isinstance(leaf, jax.Array):
            sharding = sharding_of(leaf)
            if sharding is not None:
                return sharding.mesh
    return None
