"""Levels of ``vmap`` around a call: mapped operands, and one batch of all calls.

A call under several ``jax.vmap`` has one level for each of them. Loops are mapped level
by level; kernels compute the examples of all mapped calls as one batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._attention._call import Operands, Shapes
from jaxdrop._typing import Array

Levels = tuple[tuple[bool, ...], ...]
"""For each ``vmap``, from the outermost, whether it maps each operand, along axis 0."""


def mapped_sizes(arrays: Sequence[Any], levels: Levels, /) -> tuple[int, ...]:
    """The sizes of all mapped axes, the outermost first."""
    sizes = []
    depth = [0] * len(arrays)
    for flags in levels:
        mapped = [i for i, flag in enumerate(flags) if flag]
        sizes.append(arrays[mapped[0]].shape[depth[mapped[0]]])
        for i in mapped:
            depth[i] += 1
    return tuple(sizes)


def shapes_of_one(
    arrays: Sequence[Any], names: tuple[str, ...], levels: Levels, /
) -> Shapes:
    """The shapes of the operands of one call, by name."""
    shapes = {}
    for i, (name, x) in enumerate(zip(names, arrays, strict=True)):
        shapes[name] = x.shape[sum(flags[i] for flags in levels) :]
    return shapes


def fold(
    arrays: Sequence[Any],
    names: tuple[str, ...],
    levels: Levels,
    /,
    *,
    wanted: tuple[str, ...],
) -> Operands:
    """Operands in which all mapped axes are merged with the axis of examples.

    A bias or mask that all calls share stays as it is, unless its gradient is wanted,
    which each call has for itself.
    """
    lead = mapped_sizes(arrays, levels)
    operands = {}
    for i, (name, x) in enumerate(zip(names, arrays, strict=True)):
        mapped = tuple(flags[i] for flags in levels)
        is_weight = name in ("bias", "mask")
        shared = is_weight and x.shape[0] == 1 and not any(mapped)
        if levels and not (shared and name not in wanted):
            own = x.shape[sum(mapped) :]
            sizes = [n if flag else 1 for n, flag in zip(lead, mapped, strict=True)]
            x = jnp.broadcast_to(x.reshape(*sizes, *own), (*lead, *own))
            if is_weight and own[0] == 1:
                batch = shapes_of_one(arrays, names, levels)["query"][0]
                x = jnp.broadcast_to(x, (*lead, batch, *own[1:]))
            if x.ndim > len(lead) and name != "words":
                x = x.reshape(-1, *x.shape[len(lead) + 1 :])
        operands[name] = x
    return operands


def unfold(x: Array, lead: tuple[int, ...], shape: tuple[int, ...], /) -> Array:
    """Undoes :func:`fold` for a result that has a given shape in a single call."""
    if not shape:  # one number for each example
        return x.reshape(*lead, -1).sum(-1)
    if not lead:
        return x
    x = x.reshape(*lead, -1, *x.shape[1:])
    if x.shape[len(lead)] != shape[0]:  # shared by the examples
        x = x.sum(len(lead), keepdims=True)
    return x


def over_levels(run: Callable[..., Any], levels: Levels, /) -> Callable[..., Any]:
    """A function of arrays, mapped once for each level."""
    for flags in reversed(levels):
        axes = tuple(0 if flag else None for flag in flags)
        run = jax.vmap(run, in_axes=axes)
    return run
