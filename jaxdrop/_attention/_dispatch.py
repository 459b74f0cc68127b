"""Attention as a primitive: its derivatives, its batching, and its lowerings.

One primitive stands in a traced program for attention, for its derivative (a JVP, which
is linear), and for the transpose of the derivative (a VJP). Its implementation is
chosen when a program is lowered for a platform: kernels on an accelerator, where they
apply, and loops of plain operations elsewhere. ``lax.platform_dependent`` would not do:
it traces and differentiates all its branches, and keeps for the backward pass whatever
any of them needs.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._attention import _attend, _flash, _flash_spread
from jaxdrop._attention._call import (
    OUTPUTS,
    Call,
    Operands,
    output_shapes,
    wide_dtype,
)
from jaxdrop._attention._levels import (
    Levels,
    fold,
    mapped_sizes,
    over_levels,
    shapes_of_one,
    unfold,
)
from jaxdrop._typing import Array

_INPUTS = ("query", "key", "value", "scale", "bias")
"""The operands with respect to which attention is differentiated."""

Part = str | tuple[str, ...]
"""``"attend"``, ``"change"`` (the JVP), or the operands whose gradients are wanted."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def attend(call: Call, operands: Operands) -> tuple[Array, Array, Array]:
    """Attends; returns the results that :data:`_call.OUTPUTS` names."""
    draws = call.drawn({name: operands[name].shape for name in ("query", "key")})
    output, weights, top = _bind(call, operands, part="attend", draws=draws)
    return output, weights, top


@partial(attend.defjvp, symbolic_zeros=True)
def _attend_jvp(call: Call, primals: Any, tangents: Any) -> Any:
    (operands,), (changes,) = primals, tangents
    found = dict(zip(OUTPUTS, attend(call, operands), strict=True))
    linear = {
        f"d_{name}": changes[name]
        for name in _INPUTS
        if name in changes and not isinstance(changes[name], SymbolicZero)
    }
    residual = operands | found
    of_output, of_weights = _bind(call, residual | linear, part="change")
    nothing = jnp.zeros_like(found["top"])
    return tuple(found.values()), (of_output, of_weights, nothing)


_attention = Primitive("jaxdrop_attention")
"""Its parameters are arguments of :func:`_in_loops`, and ``draws``: the shape of the
mask, for :mod:`jaxdrop.diagnostics`; None where the mask is drawn again; and
``not_run``: see :func:`_flash_spread.asking_for_devices`, or None.
"""
_attention.multiple_results = True


def _bind(
    call: Call,
    operands: Operands,
    *,
    part: Part,
    levels: Levels = (),
    draws: Any = None,
) -> Any:
    """Binds the primitive; by default without mapped axes, and to draw again."""
    return _attention.bind(
        *operands.values(),
        call=call,
        names=tuple(operands),
        levels=levels,
        part=part,
        draws=draws,
        not_run=_flash_spread.asking_for_devices(call),
    )


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _in_loops(
    call: Call,
    platform: str | None,
    names: tuple[str, ...],
    levels: Levels,
    part: Part,
    *arrays: Array,
) -> tuple[Array, ...]:
    """Attention, its derivative or gradients, in loops of plain operations."""

    def run(*arrays: Array) -> tuple[Array, ...]:
        operands = dict(zip(names, arrays, strict=True))
        plan = call.plan(operands, platform)
        if part == "attend":
            return _attend.attend(plan, call, operands)
        if part == "change":
            return _attend.change(plan, call, operands)
        return _attend.pull(plan, call, operands, tuple(part))

    with call.precise():
        found: tuple[Array, ...] = over_levels(run, levels)(*arrays)
    return found


def _in_kernels(
    call: Call,
    kind: str,
    names: tuple[str, ...],
    levels: Levels,
    part: Part,
    *arrays: Array,
    spread: bool,
    interpret: bool,
) -> tuple[Array, ...]:
    """The same in kernels, for which the batches of all mapped calls are one batch."""
    attends = part == "attend"
    lead, shapes = mapped_sizes(arrays, levels), shapes_of_one(arrays, names, levels)
    operands = fold(arrays, names, levels, wanted=() if attends else tuple(part))
    how = {"spread": spread, "interpret": interpret}
    with call.precise():
        if attends:
            found = _flash.attend(call, kind, shapes, operands, **how)
            results = [found[name] for name in OUTPUTS]
        else:
            assert part != "change"  # there are kernels for its transpose only
            found = _flash.pull(call, kind, shapes, operands, tuple(part), **how)
            results = [found[name] for name in part]
    wanted = output_shapes(shapes) if attends else [shapes[name] for name in part]
    return tuple(
        unfold(x, lead, shape) for x, shape in zip(results, wanted, strict=True)
    )


def _shapes(
    arrays: Sequence[Any], names: tuple[str, ...], levels: Levels, part: Part
) -> list[tuple[tuple[int, ...], Any]]:
    """Shapes and dtypes of results."""
    lead, own = mapped_sizes(arrays, levels), shapes_of_one(arrays, names, levels)
    dtypes = {name: x.dtype for name, x in zip(names, arrays, strict=True)}
    if isinstance(part, tuple):
        return [((*lead, *own[name]), dtypes[name]) for name in part]
    narrow = dtypes["query"]
    kinds = (narrow, wide_dtype(narrow), wide_dtype(narrow))
    pairs = zip(output_shapes(own), kinds, strict=True)
    found = [((*lead, *shape), dtype) for shape, dtype in pairs]
    return found if part == "attend" else found[:2]


def _abstract(
    *arrays: Any, names: tuple[str, ...], levels: Levels, part: Part, **rest: Any
) -> list[Any]:
    """Abstract results; they vary over each mesh axis over which any operand varies."""
    del rest
    shapes = _shapes(arrays, names, levels, part)
    if all(x.manual_axis_type.empty for x in arrays):
        return [jax.core.ShapedArray(*shape) for shape in shapes]

    # JAX computes such types by its own rules while it traces; so results that depend
    # on all operands are traced, and only their types are used.
    def results(*arrays: Array) -> list[Array]:
        any_of = sum(((x != 0).any().astype(jnp.float32) for x in arrays), 0.0)
        return [jnp.broadcast_to(any_of, s).astype(d) for s, d in shapes]

    traced: Any = jax.make_jaxpr(results)(*arrays)
    avals: list[Any] = traced.out_avals
    return avals


# Rules of the primitive.


def _run(*arrays: Array, **how: Any) -> Any:
    """Evaluates the primitive outside of ``jit``."""
    return jax.jit(partial(_attention.bind, **how))(*arrays)


def _batched(arrays: Any, axes: Any, **how: Any) -> Any:
    """Adds a level for one more ``vmap``, as the outermost one."""
    names, flags, moved = how["names"], [], []
    size = next(
        x.shape[axis] for x, axis in zip(arrays, axes, strict=True) if axis is not None
    )
    for name, x, axis in zip(names, arrays, axes, strict=True):
        # The transpose gives a gradient for each mapped call, so that linear operands
        # must be mapped.
        if axis is None and name.startswith("d_"):
            x, axis = jnp.broadcast_to(x, (size, *x.shape)), 0
        flags.append(axis is not None)
        moved.append(x if axis is None else jnp.moveaxis(x, axis, 0))
    how["levels"] = (tuple(flags), *how["levels"])
    if how["draws"] is not None:
        how["draws"] = (size, *how["draws"])
    found = _attention.bind(*moved, **how)
    return found, [0] * len(found)


def _differentiated(primals: Any, tangents: Any, **how: Any) -> Any:
    """The derivative of the derivative, or of its transpose, in plain operations.

    Both are linear in the operands that begin with ``d_``: if only these change, the
    primitive itself is the derivative.
    """
    found = _attention.bind(*primals, **how)
    names = how["names"]
    pairs = zip(names, tangents, strict=True)
    if all(type(t) is ad.Zero or name.startswith("d_") for name, t in pairs):
        linear = [
            ad.instantiate_zeros(t) if name.startswith("d_") else x
            for name, x, t in zip(names, primals, tangents, strict=True)
        ]
        return found, _attention.bind(*linear, **how)
    tangents = [_instantiated(t, x) for t, x in zip(tangents, primals, strict=True)]
    run = partial(_in_loops, how["call"], None, names, how["levels"], how["part"])
    return jax.jvp(run, tuple(primals), tuple(tangents))


def _instantiated(tangent: Any, primal: Array) -> Any:
    if type(tangent) is not ad.Zero:
        return tangent
    if jnp.issubdtype(primal.dtype, jnp.floating):
        return jnp.zeros_like(primal)
    return np.zeros(primal.shape, jax.dtypes.float0)


def _transposed(
    cotangents: Any,
    *arrays: Any,
    call: Call,
    names: tuple[str, ...],
    levels: Levels,
    part: Part,
    **rest: Any,
) -> Any:
    """Gradients of linear operands: the transpose of ``change``, or of a transpose."""
    del rest
    linear = [i for i, x in enumerate(arrays) if ad.is_undefined_primal(x)]
    kept = [i for i in range(len(arrays)) if i not in linear]
    wanted: Part = "change"
    given = tuple(f"d_{name}" for name in part)
    if part == "change":
        wanted = tuple(names[i].removeprefix("d_") for i in linear)
        given = ("d_output", "d_weights")
    cotangents = [ad.instantiate_zeros(x) for x in cotangents]
    flags = [(*(own[i] for i in kept), *(True for _ in cotangents)) for own in levels]
    operands = {names[i]: arrays[i] for i in kept}
    operands |= dict(zip(given, cotangents, strict=True))
    found = _bind(call, operands, part=wanted, levels=tuple(flags))
    results = [None] * len(arrays)
    for i, x in zip(linear, found, strict=True):
        results[i] = x
    return results


def _lowered(
    context: Any,
    *nodes: Any,
    platform: str,
    call: Call,
    names: tuple[str, ...],
    levels: Levels,
    part: Part,
    **rest: Any,
) -> Any:
    """Lowers to kernels or to loops, depending on the platform and the call."""
    del rest
    arrays = context.avals_in
    shapes = shapes_of_one(arrays, names, levels)
    own = {
        name: jax.ShapeDtypeStruct(shapes[name], x.dtype)
        for name, x in zip(names, arrays, strict=True)
    }
    interpret = platform not in _flash.KINDS
    kind: str | None = None
    if part != "change" and (call.in_kernels or not interpret):
        kind = _flash.kind_of(call, own, platform, _INTERPRETED)  # type: ignore[arg-type]
    spread, known = _spreading(context)
    elsewhere = platform != "tpu" and not call.in_kernels and _is_exported(context)
    if not interpret and ((spread and not known) or elsewhere):
        kind = None  # JAX does not export calls of Triton, and GPUs differ
    if kind is not None:
        run = partial(
            _in_kernels,
            *(call, kind, names, levels, part),
            spread=spread and known,
            interpret=interpret,
        )
    else:
        run = partial(_in_loops, call, _PLANNED_AS.get(platform), names, levels, part)
    with warnings.catch_warnings():  # JAX warns of the removal of Triton at each use
        warnings.filterwarnings("ignore", "The Pallas Triton backend")
        return mlir.lower_fun(run, multiple_results=True)(context, *nodes)


def _spreading(context: Any) -> tuple[bool, bool]:
    """Whether the compiler shards arrays, and whether kernels can be partitioned.

    Inside ``jax.shard_map`` over all axes of its mesh the compiler does not shard; over
    some of them, it does not say how arrays are sharded over the others. Elsewhere,
    custom partitioning of kernels needs the devices, which JAX names where kernels are
    requested, and it cannot be exported.
    """
    axes = getattr(context.module_context, "axis_context", None)
    mesh = getattr(axes, "mesh", None)
    if mesh is not None:
        return set(axes.manual_axes) != set(mesh.axis_names), False  # type: ignore[union-attr]
    known = getattr(axes, "device_assignment", None) and not _is_exported(context)
    return getattr(axes, "num_devices", 1) > 1, bool(known)


def _is_exported(context: Any) -> bool:
    """Whether a program is lowered for ``jax.export``."""
    parameters = getattr(context.module_context, "lowering_parameters", None)
    return bool(getattr(parameters, "for_export", False))


_INTERPRETED = "tpu"  # the kernels that other platforms interpret, if requested
_PLANNED_AS = {"cpu": "cpu", "tpu": "tpu", "cuda": "gpu", "rocm": "gpu"}
"""The platforms of JAX, and the platform of :class:`_plan.Plan` for each of them."""

_attention.def_impl(_run)
_attention.def_abstract_eval(_abstract)
batching.primitive_batchers[_attention] = _batched
ad.primitive_jvps[_attention] = _differentiated
ad.primitive_transposes[_attention] = _transposed
# Other platforms compute loops, with the plan of a CPU.
mlir.register_lowering(_attention, partial(_lowered, platform="other"))
for _platform in _PLANNED_AS:
    _rule = partial(_lowered, platform=_platform)
    mlir.register_lowering(_attention, _rule, platform=_platform)
