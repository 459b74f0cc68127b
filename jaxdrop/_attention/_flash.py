"""Attention with dropout as Pallas kernels, differentiable once, backward."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jaxdrop._attention import _kernel
from jaxdrop._attention._arguments import CALLER, Arguments
from jaxdrop._attention._plan import Plan
from jaxdrop._attention._tiles import Drop
from jaxdrop._typing import Array
from jaxdrop.prng._bits import counter_words

_F = TypeVar("_F", bound=Callable[..., Any])

_BLOCK = 64
_SMALLEST_BLOCK = 16  # of a product on a tensor core


class Arrays(NamedTuple):
    """Queries (scaled), keys and values, ``(batch, heads, length, features)``."""

    query: Array
    key: Array
    value: Array


class Known(NamedTuple):
    """What a kernel is told of its call, see :class:`_kernel.Scalars`."""

    words: Array
    keep: Array
    lengths: Array


def check_kernel(
    arrays: Arguments, window: Any, block: tuple[int | None, int | None]
) -> None:
    """Raises where the kernels do not do what is asked for."""
    found = {
        "bias": arrays.bias is not None,
        "mask": arrays.mask is not None,
        "local_window_size": window is not None,
        "float64": arrays.query.dtype == jnp.float64,
        "symbolic batch": jax.export.is_symbolic_dim(arrays.query.shape[0]),
    }
    for name, given in found.items():
        if given:
            raise ValueError(
                f'{CALLER}: implementation="pallas" takes no {name}; leave '
                "implementation out."
            )
    for size in block:
        if size is not None and (size < _SMALLEST_BLOCK or size & (size - 1)):
            raise ValueError(
                f'{CALLER}: block_size must be powers of two with implementation="'
                f'pallas", at least {_SMALLEST_BLOCK}; got {size}.'
            )
    if jax.default_backend() == "tpu":
        raise ValueError(
            f'{CALLER}: implementation="pallas" is for GPUs, and interpreted on CPUs; '
            "leave implementation out on a TPU."
        )


def with_blocks(plan: Plan, block: tuple[int | None, int | None]) -> Plan:
    """The plan with the blocks of a kernel, which sees one head at a time."""
    lengths = (plan.queries, plan.keys)
    sizes = tuple(
        size or min(_BLOCK, _power_of_two(length))
        for size, length in zip(block, lengths, strict=True)
    )
    return dataclasses.replace(plan, group=1, block=(sizes[0], sizes[1]))


def attend(
    plan: Plan, arrays: Arguments, scale: Array, lengths: Array | None, drop: Drop
) -> Array:
    """Attends in kernels, in the layouts of ``jax.nn``; gives single precision.

    Args:
      plan: from :func:`with_blocks`.
      arrays: queries, keys and values.
      scale: of the logits.
      lengths: the number of keys of each example, int32, or None.
      drop: what is dropped.
    """
    features = arrays.query.shape[-1]
    query = arrays.query.astype(jnp.float32) * scale
    padded = Arrays(
        _padded(query, plan.block[0]),
        _padded(arrays.key, plan.block[1]),
        _padded(arrays.value, plan.block[1]),
    )
    if lengths is None:
        lengths = jnp.full(plan.batch, plan.keys, jnp.int32)
    known = Known(
        counter_words(drop.key),
        drop.keep.reshape(1),
        jnp.clip(lengths, 0, plan.keys).astype(jnp.uint32)[:, None],
    )
    output = _attend(plan, padded, known)
    return output.swapaxes(1, 2)[:, : plan.queries, :, :features]


def _differentiated_no_further(function: _F) -> _F:
    """Raises when what a plan comes first in is differentiated."""
    guarded: Any = jax.custom_jvp(function, nondiff_argnums=(0,))

    def refuse(plan: Plan, primals: Any, tangents: Any) -> NoReturn:
        del plan, primals, tangents
        raise NotImplementedError(
            f'{CALLER}: implementation="pallas" can be differentiated once only; leave '
            "implementation out for higher derivatives."
        )

    guarded.defjvp(refuse)
    found: _F = guarded
    return found


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: Plan, arrays: Arrays, known: Known) -> Array:
    return _forward(plan, arrays, known)[0]


def _attend_forward(plan: Plan, arrays: Arrays, known: Known) -> tuple[Array, Any]:
    output, weights, top = _forward(plan, arrays, known)
    return output, (arrays, known, output, weights, top)


def _attend_backward(plan: Plan, kept: Any, change: Array) -> tuple[Arrays, None]:
    arrays, known, output, weights, top = kept
    share = (output * change).sum(-1)
    rest = (weights, top, change, share)
    return Arrays(*_backward(plan, arrays, known, rest)), None


_attend.defvjp(_attend_forward, _attend_backward)


@_differentiated_no_further
def _forward(plan: Plan, arrays: Arrays, known: Known) -> tuple[Array, ...]:
    group = arrays.query.shape[1] // arrays.key.shape[1]
    row = _single(arrays.query.shape[:3])
    outputs: tuple[Array, ...] = _call(
        partial(_kernel.forward, plan),
        plan.block[0],
        (*arrays.query.shape[:2], arrays.query.shape[2] // plan.block[0]),
        [_one(arrays.query), *(_all(x, group) for x in arrays[1:])],
        [arrays.query, row, row],
    )(*known, *arrays)
    return outputs


@_differentiated_no_further
def _backward(
    plan: Plan, arrays: Arrays, known: Known, rest: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    query, key, _ = arrays
    group = query.shape[1] // key.shape[1]
    (of_query,) = _call(
        partial(_kernel.back_to_queries, plan),
        plan.block[0],
        (*query.shape[:2], query.shape[2] // plan.block[0]),
        [_one(query), *(_all(x, group) for x in arrays[1:]), *map(_one, rest)],
        [query],
    )(*known, *arrays, *rest)
    of_each = _single((*query.shape[:2], *key.shape[2:]))
    of_key, of_value = _call(
        partial(_kernel.back_to_keys, plan),
        plan.block[1],
        (*query.shape[:2], key.shape[2] // plan.block[1]),
        [_all(query), _one(key, group), _one(key, group), *map(_all, rest)],
        [of_each, of_each],
    )(*known, *arrays, *rest)
    return of_query, _over_group(of_key, key), _over_group(of_value, key)


def _over_group(gradient: Array, key: Array) -> Array:
    """Adds up what the query heads of a key head add."""
    batch, heads, *rest = key.shape
    gradient = gradient.reshape(batch, heads, -1, *rest)
    return gradient.sum(2).astype(key.dtype)


_Spec = Callable[[int], pl.BlockSpec]
"""From the size of a block to what a program of the grid sees of an array."""


def _one(x: Any, group: int = 1) -> _Spec:
    """One block of one head, which ``group`` heads of the grid share."""
    rest = x.shape[3:]

    def spec(size: int) -> pl.BlockSpec:
        return pl.BlockSpec(
            (None, None, size, *rest),
            lambda b, h, i: (b, h // group, i, *(0 for _ in rest)),
        )

    return spec


def _all(x: Any, group: int = 1) -> _Spec:
    """All of one head, which ``group`` heads of the grid share."""
    rest = x.shape[2:]

    def spec(size: int) -> pl.BlockSpec:
        del size
        return pl.BlockSpec(
            (None, None, *rest), lambda b, h, i: (b, h // group, *(0 for _ in rest))
        )

    return spec


def _call(
    kernel: Callable[..., None],
    size: int,
    grid: tuple[int, ...],
    inputs: list[_Spec],
    outputs: list[Any],
) -> Callable[..., Any]:
    """A kernel over (batch, heads, blocks), told what it is :class:`Known` first."""
    known = [
        pl.BlockSpec((2,), lambda b, h, i: (0,)),
        pl.BlockSpec((1,), lambda b, h, i: (0,)),
        pl.BlockSpec((None, 1), lambda b, h, i: (b, 0)),
    ]
    call: Callable[..., Any] = pl.pallas_call(
        kernel,
        out_shape=[_single(x.shape) for x in outputs],
        grid=grid,
        in_specs=[*known, *(spec(size) for spec in inputs)],
        out_specs=[_one(x)(size) for x in outputs],
        interpret=jax.default_backend() == "cpu",
        compiler_params=triton.CompilerParams(num_warps=4),
    )
    return call


def _single(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)  # type: ignore[no-untyped-call]


def _padded(x: Array, block: int) -> Array:
    """``(batch, length, heads, features)`` with heads first, in whole blocks."""
    x = x.swapaxes(1, 2)
    length, features = x.shape[2:]
    missing = (-length % block, _power_of_two(features) - features)
    return jnp.pad(x, [(0, 0), (0, 0), *((0, n) for n in missing)])


def _power_of_two(number: int) -> int:
    """The next one, and the least that a tensor core multiplies."""
    return max(_SMALLEST_BLOCK, 1 << int(np.ceil(np.log2(max(1, number)))))
