"""Drawing masks: the keep probability, the threshold, and independent entries."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import xla_metadata
from jax.sharding import AxisType

from jaxdrop import prng
from jaxdrop._checks import (
    check_flag,
    check_rate,
    check_shape,
    check_sharding,
    is_number,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._masks._axes import at_rank, drawn_shape
from jaxdrop._numbers import as_ids, as_real
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Rate
from jaxdrop.prng._bits import consume

LEVELS = 2**23
"""How many values random bits are compared with a rate as."""

RARE = 2**-14
"""Probabilities of dropping below it may be realized to 2**-32."""

_COARSE = 2**-8
"""The keep probability below which its rounding to ``LEVELS`` steps is made up for."""


@named
def keep_probability(rate: Rate, /, *, deterministic: Flag = False) -> Any:
    """The probability of keeping, from which every mask and every scale is computed.

    It is ``1 - rate``. Masks realize it to 2**-23, rounded up, which matters for the
    scale where little is kept: below 2**-8 it is the probability that is realized. A
    number is subtracted from 1 once, in double precision; an array in float32, so
    that neither x64 mode nor a dtype changes a mask. At one rate in eight the two
    differ by one step of 2**-23. No gradient reaches ``rate``: through a hard mask it
    would be wrong.

    Args:
      rate: a number in [0, 1], or a JAX array of any shape.
      deterministic: a bool, or a traced one: keep everything.

    Returns:
      A number or a float32 array; NaN where an array is outside [0, 1].

    Raises:
      ValueError: if a number is out of range.
      TypeError: if ``rate`` is not a number or an array of numbers.

    Examples:
      >>> import jaxdrop
      >>> jaxdrop.masks.keep_probability(0.25)
      0.75
    """
    check_rate(rate, scalar=False)
    deterministic = check_flag(deterministic)
    keep: Any = _keep_of_number(rate) if is_number(rate) else _keep_of_array(rate)
    if isinstance(deterministic, jax.Array):
        return select(deterministic, jnp.float32(1), jnp.asarray(keep, jnp.float32))
    return 1.0 if deterministic else keep


def survival(rate: Rate, /, *, deterministic: Flag = False) -> Any:
    """``1 - rate`` itself: :func:`keep_probability` where nothing is rounded."""
    keep: Any = 1.0 - float(rate) if is_number(rate) else _complement(rate)
    if isinstance(deterministic, jax.Array):
        return select(deterministic, jnp.float32(1), jnp.asarray(keep, jnp.float32))
    return 1.0 if deterministic else keep


def _keep_of_number(rate: float) -> float:
    keep = 1.0 - float(rate)
    if keep >= _COARSE:
        return keep
    return math.ceil(float(np.float32(keep)) * LEVELS) / LEVELS


@site("jaxdrop.masks.keep_probability", draws="nothing", acts_on="bits")
def _keep_of_array(rate: Any) -> Array:
    keep = _complement(rate)
    return jnp.where(keep < _COARSE, jnp.ceil(keep * LEVELS) / LEVELS, keep)


def _complement(rate: Any) -> Array:
    rate = lax.stop_gradient(jnp.asarray(rate)).astype(jnp.float32)
    inside = (rate >= 0) & (rate <= 1)  # of the rate: 1 - rate rounds -1e-9 away
    return jnp.where(inside, 1 - rate, jnp.nan)


@named
def bernoulli(
    key: Key,
    shape: tuple[int, ...],
    /,
    *,
    rate: Rate,
    broadcast_dims: Axes = (),
    out_sharding: Any = None,
) -> Array:
    """Keeps each entry independently, with probability ``1 - rate``.

    The mask equals ``jax.random.bernoulli(key, 1 - rate, shape)`` with x64 off: integer
    bits are compared with ``ceil((1 - rate) * 2**23)``, so a rate is realized to 2**-23
    and one below 2**-24 drops nothing.

    Args:
      key: a PRNG key.
      shape: the shape of the array to be masked. Static.
      rate: the probability of dropping an entry: a number, or an array that broadcasts
        against ``shape``. A traced rate outside [0, 1] keeps everything.
      broadcast_dims: axes along which one draw is shared. Static.
      out_sharding: the sharding of the mask on an explicit mesh. Static.

    Returns:
      A boolean mask that broadcasts to ``shape``, with length 1 along
      ``broadcast_dims`` (unless an array of rates varies there).

    Raises:
      ValueError: if ``rate`` or ``broadcast_dims`` are out of range.

    Examples:
      >>> import jax, jaxdrop
      >>> key = jax.random.key(0)
      >>> mask = jaxdrop.masks.bernoulli(key, (8, 4), rate=0.5, broadcast_dims=(0,))
      >>> mask.shape
      (1, 4)
    """
    check_rate(rate, scalar=False)
    shape = check_shape(shape)
    check_sharding(out_sharding)
    key = require_key(key, instead="")
    return draw(
        key,
        shape,
        keep=align(keep_probability(rate), shape),
        broadcast_dims=broadcast_dims,
        out_sharding=out_sharding,
    )


def draw(
    key: Key,
    shape: tuple[int, ...],
    /,
    *,
    keep: Any,
    rare: Any = None,
    broadcast_dims: Axes = (),
    out_sharding: Any = None,
) -> Array:
    """:func:`bernoulli`, from the output of :func:`keep_probability`.

    Args:
      key: one PRNG key.
      shape: the shape of the array to be masked.
      keep: the probability of keeping.
      rare: ``1 - keep``, for small probabilities of dropping, which 23 bits and float32
        do not resolve: below 2**-14 they are realized to 2**-32.
      broadcast_dims: axes along which one draw is shared.
      out_sharding: the sharding of the mask on an explicit mesh.

    Returns:
      A boolean mask that broadcasts to ``shape``.
    """
    drawn, sharding = drawn_shape(shape, broadcast_dims, out_sharding=out_sharding)
    rest = () if rare is None else (jnp.asarray(rare, jnp.float32),)
    return _drawn(key, keep, *rest, shape=drawn, sharding=sharding)


@partial(jax.jit, static_argnames=("shape", "sharding"))
def _drawn(
    key: Key, keep: Any, /, *rare: Array, shape: tuple[int, ...], sharding: Any
) -> Array:
    """Draws in one program, which eager calls of the same shape share."""

    def drawing(key: Key, keep: Array, *rare: Array) -> Array:
        bits = prng.random_bits(key, shape, out_sharding=sharding)
        mask = survives(bits, keep=keep)
        for drop in rare:
            words = jnp.round(drop * np.float32(2.0**32)).astype(jnp.uint32)
            mask = jnp.where(drop < RARE, ~bits >= words, mask)
        return mask

    return hold(drawing, key, keep, *rare)


def draw_at(key: Key, counters: Array, /, *, keep: Any) -> Array:
    """The entries of :func:`draw` at row-major positions, without the others.

    Args:
      key: one PRNG key.
      counters: positions in a mask of any size, integers of any shape.
      keep: from :func:`keep_probability`, a scalar.

    Returns:
      A boolean mask of the shape of ``counters``.
    """

    def drawing(key: Key, keep: Array, counters: Array) -> Array:
        return survives(prng.bits_at(consume(key), counters), keep=keep)

    return hold(drawing, key, keep, counters)


def hold(
    drawing: Callable[..., Array],
    key: Any,
    keep: Any,
    /,
    *rest: Any,
    platform: str | None = None,
) -> Array:
    """Calls ``drawing(key, keep, *rest)``, so that a mask is computed but once.

    XLA's CPU compiler fuses a hash into every loop that reads it, so that a mask is
    computed again for the backward pass, and both times in loops that float32 data
    keep narrow; ``optimization_barrier`` does not stop it. A call that the compiler may
    not inline does: it writes the mask to memory, one byte an entry, which halves the
    time of a training step. Elsewhere the compiler is left to fuse.

    Args:
      drawing: gives a mask from a key, a keep probability in float32, and the rest.
      key: one PRNG key, or its words.
      keep: from :func:`keep_probability`.
      *rest: arrays.
      platform: the platform that the program is traced for, where it is known: then
        nothing is traced for others.

    Returns:
      The mask.
    """
    keep = jnp.asarray(keep, jnp.float32)
    if platform is not None:
        draws = partial(_held, drawing) if platform == "cpu" else drawing
        return draws(key, keep, *rest)
    return lax.platform_dependent(
        key, keep, *rest, cpu=partial(_held, drawing), default=drawing
    )


_marked_call: Any = getattr(xla_metadata, "xla_metadata_call", None)


def _held(drawing: Callable[..., Array], /, *operands: Any) -> Array:
    """Draws in a call of its own, marked for XLA not to be inlined.

    On an explicit mesh the mark on its output would reach the sharding constraint that
    newer releases of JAX add to it; these have a call that is marked itself.
    """
    held: Any
    explicit = AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types
    if explicit and _marked_call is not None:
        held = _marked_call(drawing, inlineable="false")(*operands)
    else:
        mask = jax.jit(drawing)(*operands)
        held = xla_metadata.set_xla_metadata(mask, inlineable="false")
    return held


@named
def survives(bits: Array, /, *, keep: Any) -> Array:
    """Compares random bits with the threshold of ``keep``; True where they survive.

    Where ``keep`` is NaN everything survives, so that :func:`apply` can make it NaN.

    Args:
      bits: random bits, uint32, such as those of :func:`jaxdrop.prng.random_bits`.
      keep: the probability of surviving, a scalar or an array that broadcasts against
        ``bits``.

    Returns:
      A boolean array.

    Raises:
      TypeError: if ``bits`` are not uint32, nor Python or NumPy integers.
      ValueError: if such integers are out of range, or ``keep`` does not broadcast to
        the shape of ``bits``.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import masks, prng
      >>> key, shape = jax.random.key(0), (3, 4)
      >>> mask = masks.survives(prng.random_bits(key, shape), keep=0.8)
      >>> bool((mask == masks.bernoulli(key, shape, rate=0.2)).all())
      True
    """
    words = bits if isinstance(bits, jax.Array) else as_ids(bits, name="bits")
    if words.dtype != jnp.uint32:
        raise TypeError(f"bits must be uint32, got {words.dtype}.")
    threshold = threshold_of(keep)
    fits = zip(reversed(threshold.shape), reversed(words.shape), strict=False)
    if threshold.ndim > words.ndim or any(n != m and 1 not in (n, m) for n, m in fits):
        raise ValueError(
            f"keep has shape {threshold.shape}, which does not broadcast against bits "
            f"of shape {words.shape}."
        )
    return (words >> jnp.uint32(9)) < at_rank(threshold, words.ndim)


def threshold_of(keep: Any, /) -> Array:
    """The uint32 that bits, without their last nine, must be below to survive."""
    keep = jnp.asarray(as_real(keep, name="keep"), jnp.float32)
    steps = jnp.where(jnp.isnan(keep), 1, keep) * LEVELS
    threshold: Array = jnp.ceil(steps).astype(jnp.uint32)
    return threshold


def align(keep: Any, shape: tuple[int, ...], /, *, name: str = "rate") -> Any:
    """Gives an array of rates the rank of the data that it broadcasts against."""
    if not np.ndim(keep):
        return keep
    rates = np.shape(keep)
    try:
        fits = np.broadcast_shapes(rates, tuple(shape)) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} has shape {rates}, which does not broadcast against an array of "
            f"shape {tuple(shape)}."
        )
    return at_rank(keep, len(shape))
