"""Kernels under ``jit`` on several devices: each computes its examples and heads.

The compiler cannot partition a kernel by itself: it would replicate all of the work, or
raise an error. The sharding rule here allows it to shard the axes of examples and
heads. The position of each example and head in the mask is an operand (``examples``,
``heads``), so that a device draws the right part of it.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from jaxdrop._attention._call import Call, Operands
from jaxdrop._typing import Array

_AXES = {  # b examples, m key heads, mg query heads; other axes are not sharded
    "query": ("b", "q", "mg", "d"),
    "output": ("b", "q", "mg", "d"),
    "d_output": ("b", "q", "mg", "d"),
    "key": ("b", "k", "m", "d"),
    "value": ("b", "k", "m", "d"),
    "bias": ("b", "mg", "q", "k"),
    "mask": ("b", "mg", "q", "k"),
    "whole": ("b", "w"),
    "real": ("b", "r"),
    "examples": ("b",),
    "heads": ("mg",),
    "weights": ("b", "mg", "q"),
    "top": ("b", "mg", "q"),
    "d_weights": ("b", "mg", "q"),
    "row": ("b", "mg", "q"),
    "sum": ("b", "mg"),
}

_NO_MESH = AbstractMesh((), ())

Run = Callable[[Operands], Operands]


def asking_for_devices(call: Call) -> Any:
    """What a primitive takes as a parameter, so that JAX names the devices to it.

    JAX names them to programs with a custom partitioning somewhere, and looks for one
    in the parameters of all primitives. This one is never lowered. As JAX refuses such
    programs for abstract meshes, or for several, only requested kernels ask; and none
    inside a ``jax.shard_map`` over all axes or on the only device, which need not.
    """
    return _partitioned() if call.in_kernels and call.devices > 1 else None


@cache
def _partitioned() -> Any:
    """A program with a custom partitioning, of nothing."""
    same = custom_partitioning(lambda x: x)
    same.def_partition(partition=lambda *_: None, sharding_rule="... -> ...")
    return jax.make_jaxpr(same)(False)


def over_devices(
    run: Run,
    operands: Operands,
    results: dict[str, str],
    *,
    spread: bool,
    kernel: str,
) -> Operands:
    """Runs a function on every device, for its part of the examples and heads.

    Args:
      run: computes results by name from operands by name, for any part of the examples
        and heads.
      operands: the operands for all examples and heads.
      results: for each name of a result, the name of its axes in ``_AXES``.
      spread: whether the compiler may shard the operands at all.
      kernel: all on which ``run`` depends, in words. Without it, programs of different
        kernels for the same shapes would differ by an address alone, which JAX's
        persistent cache of compiled programs may find again in another process.
    """
    if not spread:
        return run(operands)
    names = tuple(operands)

    def flat(*arrays: Array) -> tuple[Array, ...]:
        found = run(dict(zip(names, arrays, strict=True)))
        return tuple(found[name] for name in results)

    shapes = [operands[name].shape for name in names]
    outputs = [x.shape for x in jax.eval_shape(flat, *operands.values())]
    heads = operands["query"].shape[2], operands["key"].shape[2]
    grouped = heads[0] > heads[1] > 1
    axes = [_of(_AXES[n], s) for n, s in zip(names, shapes, strict=True)]
    kinds = [_AXES[kind] for kind in results.values()]
    result_axes = [_of(a, s) for a, s in zip(kinds, outputs, strict=True)]
    spreading = custom_partitioning(flat)
    spreading.def_partition(
        partition=partial(_partition, flat, names, axes, result_axes, heads),
        infer_sharding_from_operands=partial(_infer, names, result_axes, heads),
        sharding_rule=_rule(axes, result_axes, grouped=grouped),
        **({"g": heads[0] // heads[1]} if grouped else {}),
    )
    found: Any = set_xla_metadata(spreading(*operands.values()), jaxdrop_kernel=kernel)
    return dict(zip(results, found, strict=True))


def _of(axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of the axes of an array, empty where it has length 1."""
    pairs = zip(axes, shape, strict=True)
    return tuple(axis if size > 1 else "" for axis, size in pairs)


def _rule(axes: Any, results: Any, *, grouped: bool) -> str:
    """A sharding rule of Shardy: a factor for each axis, two for query heads."""
    count = iter(range(1000))

    def term(axis: str) -> str:
        if axis == "":
            return f"one{next(count)}"
        if axis == "mg":
            return "(m g)" if grouped else "m"
        return axis

    def side(all_axes: Any) -> str:
        return ", ".join(" ".join(map(term, axes)) for axes in all_axes)

    return f"{side(axes)} -> {side(results)}"


def _specs(
    axes: Any, names: tuple[str, ...], shardings: Any, heads: tuple[int, int]
) -> Any:
    """The shardings of all arrays, which follow from that of the queries."""
    query = shardings[names.index("query")]
    spec = (*query.spec, *(None,) * (4 - len(query.spec)))
    examples, all_heads = spec[0], spec[2]
    size = _size(query.mesh, all_heads)
    spread = {"b": examples, "mg": all_heads, "m": all_heads}
    if heads[1] == 1:
        spread["m"] = None
    elif heads[1] % size:
        spread["m"] = spread["mg"] = None

    def sharding(names: tuple[str, ...]) -> NamedSharding:
        parts = [spread.get(name) for name in names]
        return NamedSharding(query.mesh, PartitionSpec(*parts))

    return [sharding(x) for x in axes]


def _size(mesh: Any, names: Any) -> int:
    """Over how many devices an axis is sharded, by its entry in a spec."""
    if names is None:
        return 1
    size = 1
    for name in names if isinstance(names, tuple) else (names,):
        size *= mesh.shape[name]
    return size


def _infer(
    names: Any, results: Any, heads: Any, mesh: Any, arguments: Any, shape: Any
) -> Any:
    """Tells the partitioner GSPMD how results are sharded; Shardy reads the rule."""
    del mesh, shape
    shardings = [x.sharding for x in arguments]
    return tuple(_specs(results, names, shardings, heads))


def _partition(
    flat: Any,
    names: Any,
    axes: Any,
    results: Any,
    heads: Any,
    mesh: Any,
    arguments: Any,
    shape: Any,
) -> Any:
    """The function of one device, and the shardings of its results and operands."""
    del shape
    shardings = [x.sharding for x in arguments]
    inputs = _specs(axes, names, shardings, heads)
    outputs = _specs(results, names, shardings, heads)
    query = axes[names.index("query")], inputs[names.index("query")].spec

    def part(*arrays: Array) -> tuple[Array, ...]:
        with jax.sharding.use_abstract_mesh(_NO_MESH):  # around a device's own part
            return tuple(
                _added(x, own, *query)
                for x, own in zip(flat(*arrays), results, strict=True)
            )

    return mesh, part, tuple(outputs), tuple(inputs)


def _added(x: Array, axes: tuple[str, ...], query_axes: Any, spec: Any) -> Array:
    """Adds up a result over devices, along sharded axes that it does not have."""
    for axis, spread in zip(query_axes, spec, strict=True):
        own = {"mg": ("mg", "m")}.get(axis, (axis,))
        if spread is not None and not set(own) & set(axes):
            x = jax.lax.psum(x, spread)
    return x
