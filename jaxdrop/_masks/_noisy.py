"""Elementwise functions of data and noise: what they keep, and what they fuse with.

Bits are computed where they are used, which XLA's TPU compiler takes too far beside a
matrix product: it fuses the hash into the product that reads the noisy array, and
computes it again for every tile. Two kinds of ``optimization_barrier``, on TPUs only,
prevent that:

- Where nothing is differentiated, around the function: noise, its use and no more are
  one kernel, which costs nothing beside reading and writing the data.
- Under differentiation, after the noise: it is written once, a byte an entry for a
  mask, and read by both passes. Where noise is as large as the data, the noisy array
  and the gradient that is passed back are written once as well: products that read
  them would apply the noise again for every tile.

A GPU's compiler does neither need it nor gain by it, and a CPU's ignores it.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxdrop._typing import Array


def fenced(function: Callable[..., Array], /) -> Callable[..., Array]:
    """Keeps ``function(x, noise, *parameters)`` out of other kernels on a TPU.

    Derivatives pass the same borders. This is for noise that they do not need, or that
    is as well drawn again; :func:`noisy` is for noise that is kept.

    Args:
      function: elementwise, with arrays that broadcast to the shape of ``x``.

    Returns:
      A function of the same arguments.
    """

    @wraps(function)
    def alone(x: Array, noise: Array, *parameters: Array) -> Array:
        data, *rest = (fence(a) if a.ndim else a for a in (x, *parameters))
        return fence(function(data, noise, *rest))

    return alone


def noisy(
    function: Callable[..., Array],
    /,
    *,
    slope: Callable[..., Array] | None = None,
) -> Callable[..., Array]:
    """Prepares ``function(x, noise, *parameters)`` for compilers and for gradients.

    The values and derivatives stay those of ``function``. The backward pass keeps its
    arguments, as small as they are given, and computes the rest again.

    Args:
      function: elementwise, with arrays that broadcast to the shape of ``x``.
      slope: ``slope(tangent, noise, *parameters)``, the derivative by ``x`` of a
        ``function`` that is linear in it; by default JAX derives it. Transposing
        reverses the order of its operations. Where the last operation of ``function``
        and of the transposed ``slope`` are of one kind, a TPU's compiler can put
        forward and backward pass into one kernel.

    Returns:
      A function of the same arguments.
    """
    differentiable = jax.custom_jvp(fenced(function))
    rule = partial(_derivative, function, slope)
    differentiable.defjvp(rule, symbolic_zeros=True)
    return differentiable


def _derivative(
    function: Callable[..., Array],
    slope: Callable[..., Array] | None,
    primals: tuple[Array, ...],
    tangents: tuple[Any, ...],
) -> tuple[Array, Array]:
    """The function and its directional derivative, in the arguments that have one."""
    given = [primals[0], fence(primals[1]), *primals[2:]]
    # Noise that is shared along axes is cheap to apply in a product's tiles.
    border = fence if primals[0].shape == primals[1].shape else _open
    moving = [
        i
        for i, tangent in enumerate(tangents)
        if not isinstance(tangent, SymbolicZero) and tangent.dtype != jax.dtypes.float0
    ]

    if slope is not None and moving == [0]:
        tangent = _again(slope)(border(tangents[0]), *given[1:])
        return border(_again(function)(*given)), tangent

    @_again
    def of_moving(moved: list[Array], fixed: list[Array]) -> Array:
        rest = iter(fixed)
        values = dict(zip(moving, moved, strict=True))
        each = (values[i] if i in values else next(rest) for i in range(len(given)))
        return function(*each)

    fixed = [value for i, value in enumerate(given) if i not in moving]
    moved = [given[i] for i in moving]
    if not moving:
        y = of_moving(moved, fixed)
        return border(y), jnp.zeros_like(y)
    y, tangent = jax.jvp(
        lambda moved: of_moving(moved, fixed),
        (moved,),
        ([border(tangents[i]) for i in moving],),
    )
    return border(y), tangent


def _again(function: Callable[..., Array]) -> Callable[..., Array]:
    """``function``, of which backward passes keep nothing but its arguments."""
    again: Callable[..., Array] = jax.checkpoint(function, prevent_cse=False)
    return again


def fence(array: Array) -> Array:
    """A border that fusions do not cross on a TPU; elsewhere nothing."""
    fenced: Array = lax.platform_dependent(
        array, tpu=lax.optimization_barrier, default=_open
    )
    return fenced


def _open(array: Array) -> Array:
    return array
