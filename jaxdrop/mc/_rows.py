"""Functions whose draw is shared by all inputs: every row has the same masks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._checks import as_index
from jaxdrop._numbers import as_array
from jaxdrop._typing import Key, PyTree

BatchAxis = int | tuple[int | None, ...]


def rowwise(
    apply_fn: Callable[..., PyTree], args: tuple[Any, ...], batch_axis: BatchAxis, /
) -> Callable[[Key], PyTree]:
    """Returns a function ``key -> outputs`` that passes each row as a batch of one.

    A mask has the shape of its data, so that a batch of one has the same mask for the
    same key, however many rows there are. (A matrix product may round differently for
    other numbers of rows.) The outputs have the layout that ``apply_fn`` returns for
    the whole batch.

    Args:
      apply_fn: ``(key, *args) -> outputs``.
      args: its arguments; ``batch_axis`` determines which of them are batches.
      batch_axis: the axis of the rows in the last argument; or one entry for each
        argument, None for arguments that all rows share.
    """
    axes = _axes(batch_axis, args)
    args = tuple(
        arg if axis is None else jax.tree.map(_as_rows, arg)
        for arg, axis in zip(args, axes, strict=True)
    )

    def alone(*rows: Any) -> tuple[Any, ...]:
        return tuple(
            row
            if axis is None
            else jax.tree.map(lambda x, a=axis: jnp.expand_dims(x, a), row)
            for row, axis in zip(rows, axes, strict=True)
        )

    def function(key: Key) -> PyTree:
        places = _output_axes(apply_fn, key, args, axes)

        def of_row(*rows: Any) -> PyTree:
            return jax.tree.map(jnp.squeeze, apply_fn(key, *alone(*rows)), places)

        return jax.vmap(of_row, in_axes=axes, out_axes=places)(*args)

    return function


def _as_rows(leaf: Any) -> Any:
    """An array of rows: a JAX array, which may hold keys, or numbers from the host."""
    return leaf if isinstance(leaf, jax.Array) else as_array(leaf, name="args")


def check_batch_axis(batch_axis: Any, /) -> None:
    """Raises unless it is an axis, or a tuple of axes and None."""
    for axis in batch_axis if isinstance(batch_axis, tuple) else (batch_axis,):
        _as_axis(axis)


def _axes(batch_axis: BatchAxis, args: tuple[Any, ...]) -> tuple[int | None, ...]:
    if not args:
        raise ValueError("shared draws need an argument whose rows share them.")
    if not isinstance(batch_axis, tuple):
        return (None,) * (len(args) - 1) + (_as_axis(batch_axis),)
    if len(batch_axis) != len(args) or all(axis is None for axis in batch_axis):
        raise ValueError(
            "batch_axis must be an axis of the last argument, or a tuple with an axis "
            f"or None for each of the {len(args)} arguments, got {batch_axis}."
        )
    return tuple(map(_as_axis, batch_axis))


def _as_axis(axis: Any) -> int | None:
    """An axis of any integer type as a Python int, which ``jax.vmap`` needs."""
    if axis is None:
        return None
    try:
        return as_index(axis)
    except TypeError:
        raise TypeError(f"batch_axis must hold integers, got {axis!r}.") from None


def _output_axes(
    apply_fn: Callable[..., PyTree],
    key: Key,
    args: tuple[Any, ...],
    axes: tuple[int | None, ...],
) -> PyTree:
    """The axis of each output whose size is the number of rows."""

    def shapes(number: int) -> PyTree:
        def resized(*args: Any) -> PyTree:
            taken = (
                arg
                if axis is None
                else jax.tree.map(lambda x, a=axis: _repeat(x, a, number), arg)
                for arg, axis in zip(args, axes, strict=True)
            )
            return apply_fn(key, *taken)

        return jax.eval_shape(lambda: resized(*args))

    def grown(one: jax.ShapeDtypeStruct, two: jax.ShapeDtypeStruct) -> int:
        places = [i for i, n in enumerate(one.shape) if two.shape[i] != n]
        sizes = [(one.shape[i], two.shape[i]) for i in places]
        if one.ndim != two.ndim or sizes != [(1, 2)]:
            raise ValueError(
                "shared draws need outputs with one entry per input row; a batch of "
                f"one row gives {one.shape}, and of two rows {two.shape}."
            )
        return places[0]

    return jax.tree.map(grown, shapes(1), shapes(2))


def _repeat(x: Any, axis: int, number: int) -> Any:
    """A batch of ``number`` rows of zeros, shaped like those of ``x``."""
    shape = list(np.shape(x))
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"batch_axis {axis} is out of bounds for shape {np.shape(x)}.")
    shape[axis] = number
    return jnp.zeros(tuple(shape), x.dtype)
