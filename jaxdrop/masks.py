"""Which entries survive, and the one place that scales. ``True`` means kept.

A mask is a function of key, shape and rate alone: not of the dtype of the data, of x64
mode, of jit, of sharding or of the device. Masks drawn at different rates from one key
are nested: what is kept at a rate is kept at every lower rate.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdrop import prng
from jaxdrop._checks import check_axes, check_axis, check_rate, is_number, select
from jaxdrop._sites import site
from jaxdrop._typing import Array, Axes, Flag, Key, Rate

_WORTH_HOLDING = 1 << 12

SELU_SATURATION = -1.7580993408473766
"""What SELU tends to at minus infinity, ``-scale * alpha`` (Klambauer et al., 2017)."""


def keep_probability(rate: Rate, /, *, deterministic: Flag = False) -> Any:
    """``1 - rate``, from which every mask and every scale is computed.

    A number is subtracted from 1 once, in double precision; an array in float32, so
    that neither x64 mode nor a dtype changes a mask. At one rate in eight the two
    differ by one step of 2**-23. No gradient reaches ``rate``: through a hard mask it
    would be wrong.

    Args:
      rate: a checked number, or a JAX array of any shape.
      deterministic: a bool, or a traced one: keep everything.

    Returns:
      A number or a float32 array; NaN where an array is outside [0, 1].

    Examples:
      >>> import jaxdrop
      >>> jaxdrop.masks.keep_probability(0.25)
      0.75
    """
    keep: Any = 1.0 - float(rate) if is_number(rate) else _keep_of_array(rate)
    if isinstance(deterministic, jax.Array):
        return select(deterministic, jnp.float32(1), jnp.asarray(keep, jnp.float32))
    return 1.0 if deterministic else keep


@site("jaxdrop.masks.keep_probability")
def _keep_of_array(rate: Any) -> Array:
    rate = lax.stop_gradient(rate).astype(jnp.float32)
    inside = (rate >= 0) & (rate <= 1)  # of the rate: 1 - rate rounds -1e-9 away
    return jnp.where(inside, 1 - rate, jnp.nan)


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
    bits are compared with ``ceil((1 - rate) * 2**23)``, so a rate is realised to 2**-23
    and one below 2**-24 drops nothing.

    Args:
      key: a PRNG key.
      shape: the shape of the array to be masked. Static.
      rate: the probability of dropping an entry: a number, or an array that broadcasts
        against ``shape``. A traced rate that is no probability keeps everything.
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
    check_rate(rate, caller="bernoulli", scalar=False)
    return draw(
        key,
        tuple(shape),
        keep=align(keep_probability(rate), shape, caller="bernoulli"),
        broadcast_dims=broadcast_dims,
        out_sharding=out_sharding,
    )


def draw(
    key: Key,
    shape: tuple[int, ...],
    /,
    *,
    keep: Any,
    broadcast_dims: Axes = (),
    out_sharding: Any = None,
) -> Array:
    """:func:`bernoulli`, from the output of :func:`keep_probability`."""
    drawn, sharding = drawn_shape(shape, broadcast_dims, out_sharding=out_sharding)

    def drawing(key: Key, keep: Array) -> Array:
        return survives(prng.random_bits(key, drawn, out_sharding=sharding), keep=keep)

    keep = jnp.asarray(keep, jnp.float32)
    checking: bool = jax.config.jax_debug_key_reuse  # type: ignore[attr-defined]
    if math.prod(drawn) < _WORTH_HOLDING or checking:  # a loop would seem a reuse
        return drawing(key, keep)
    return lax.platform_dependent(
        key, keep, cpu=partial(_held, drawing), default=drawing
    )


def _held(drawing: Callable[..., Array], key: Key, keep: Array) -> Array:
    """Draws a mask into memory, one byte an entry, instead of into its consumers.

    XLA's CPU compiler fuses a hash into every loop that reads it, so that a mask is
    computed again for the backward pass, and both times in loops that float32 data
    keep narrow; ``optimization_barrier`` does not stop it. A loop does, if the compiler
    cannot know that it runs once. Held masks halve the time of a training step.
    """
    word = jax.random.key_data(key).ravel()[0]
    once = 1 + (word * word & jnp.uint32(2)).astype(jnp.int32)  # no square has this bit
    mask = jax.eval_shape(drawing, key, keep)
    empty = lax.full(mask.shape, False, mask.dtype, sharding=mask.sharding)
    return lax.fori_loop(0, once, lambda _, __: drawing(key, keep), empty)


def survives(bits: Array, /, *, keep: Any) -> Array:
    """Compares random bits with the threshold of ``keep``; True where they survive.

    The one threshold of the library. Where ``keep`` is NaN everything survives, so that
    :func:`apply` can make it NaN.
    """
    keep = jnp.asarray(keep, jnp.float32)
    steps = jnp.where(jnp.isnan(keep), 1, keep) * 2**23
    threshold = jnp.ceil(steps).astype(jnp.uint32)
    return (bits >> jnp.uint32(9)) < threshold


def align(keep: Any, shape: tuple[int, ...], /, *, caller: str) -> Any:
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
            f"{caller}: rate has shape {rates}, which does not broadcast against an "
            f"array of shape {tuple(shape)}."
        )
    return jnp.reshape(keep, (1,) * (len(shape) - len(rates)) + rates)


def apply(x: Array, mask: Array, /, *, keep: Any, scale: bool = True) -> Array:
    """Zeroes what ``mask`` drops, and divides what it keeps by ``keep``.

    Entries are selected, never multiplied by the mask: an inf or NaN that is dropped is
    0, in value and gradient. The division is done in float32, or in x's dtype where
    that is wider, and rounded once. For the backward pass the mask is kept as it was
    drawn: small where it is shared along axes.

    Args:
      x: the data, floating point or complex.
      mask: a boolean mask that broadcasts to x's shape; ``True`` is kept.
      keep: the probability of keeping, or the share kept, a scalar or an array that
        broadcasts to x's shape. 1 gives ``x`` bit for bit, and NaN all NaN.
      scale: whether to divide at all. Static.

    Returns:
      An array with the shape and dtype of ``x``.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> mask = jnp.array([True, False, True])
      >>> jaxdrop.masks.apply(jnp.array([1.0, jnp.inf, 3.0]), mask, keep=0.5).tolist()
      [2.0, 0.0, 6.0]
    """
    keep = jnp.asarray(keep, _real_dtype(x))
    return _apply(x, mask, keep if scale else jnp.where(jnp.isnan(keep), keep, 1))


@partial(jax.checkpoint, prevent_cse=False)
def _apply(x: Array, mask: Array, divisor: Array) -> Array:
    mask, divisor = _rank_of(x, mask), _rank_of(x, divisor)
    wide = x.astype(_wide_dtype(x))
    scaled = wide / jnp.where(divisor == 0, 1, divisor).astype(wide.dtype)
    untouched = divisor == 1  # x / 1 would flush denormals
    kept = jnp.where(untouched, x, scaled.astype(x.dtype))
    return jnp.where(mask, kept, jnp.zeros((), x.dtype))


def apply_alpha(x: Array, mask: Array, /, *, keep: Any) -> Array:
    """Sets what ``mask`` drops to SELU's saturation, and restores mean and variance.

    Args:
      x: the data, floating point.
      mask: a boolean mask that broadcasts to x's shape; ``True`` is kept.
      keep: as in :func:`apply`. At 0 the output is 0, the limit of the formula.

    Returns:
      An array with the shape and dtype of ``x``.

    References:
      Klambauer, Unterthiner, Mayr, Hochreiter, `Self-normalizing neural networks
      <https://arxiv.org/abs/1706.02515>`_, NeurIPS 2017.
    """
    return _apply_alpha(x, mask, jnp.asarray(keep, _real_dtype(x)))


@partial(jax.checkpoint, prevent_cse=False)
def _apply_alpha(x: Array, mask: Array, keep: Array) -> Array:
    mask, keep = _rank_of(x, mask), _rank_of(x, keep)
    safe = jnp.where(keep == 0, 1, keep)
    saturation = jnp.asarray(SELU_SATURATION, keep.dtype)
    scale = lax.rsqrt(safe * (1 + (1 - safe) * saturation**2))
    shift = -scale * saturation * (1 - safe)
    wide = x.astype(_wide_dtype(x))
    affine = wide * scale.astype(wide.dtype) + shift.astype(wide.dtype)
    dropped = jnp.where(keep == 0, 0, scale * saturation * safe).astype(wide.dtype)
    mixed = jnp.where(mask, affine, dropped).astype(x.dtype)
    return jnp.where(keep == 1, x, mixed)


def apply_gaussian(x: Array, noise: Array, /, *, keep: Any) -> Array:
    """Multiplies ``x`` by N(1, (1 - keep) / keep), of which ``noise`` is N(0, 1).

    Args:
      x: the data, floating point or complex.
      noise: standard normal draws that broadcast to x's shape.
      keep: as in :func:`apply`. At 0 the variance is infinite and the output NaN.

    Returns:
      An array with the shape and dtype of ``x``.
    """
    return _apply_gaussian(x, noise, jnp.asarray(keep, _real_dtype(x)))


@partial(jax.checkpoint, prevent_cse=False)
def _apply_gaussian(x: Array, noise: Array, keep: Array) -> Array:
    noise, keep = _rank_of(x, noise), _rank_of(x, keep)
    deviation = jnp.sqrt((1 - keep) / jnp.where(keep == 0, jnp.nan, keep))
    wide = x.astype(_wide_dtype(x))
    factor = 1 + deviation * noise.astype(keep.dtype)
    return jnp.where(keep == 1, x, (wide * factor.astype(wide.dtype)).astype(x.dtype))


def spatial_axes(
    shape: tuple[int, ...], /, *, num_spatial_dims: int, channel_axis: int, caller: str
) -> Axes:
    """The last ``num_spatial_dims`` axes other than ``channel_axis``.

    Raises:
      ValueError: if the array has too few axes, or the channel axis is out of range.
    """
    if num_spatial_dims not in (1, 2, 3):
        raise ValueError(
            f"{caller}: num_spatial_dims must be 1, 2 or 3, got {num_spatial_dims}."
        )
    if len(shape) < num_spatial_dims + 1:
        raise ValueError(
            f"{caller}: with num_spatial_dims={num_spatial_dims} x needs at least "
            f"{num_spatial_dims + 1} axes, got shape {shape}."
        )
    channel = check_axis(channel_axis, len(shape), name="channel_axis")
    others = tuple(axis for axis in range(len(shape)) if axis != channel)
    return others[-num_spatial_dims:]


def drawn_shape(
    shape: tuple[int, ...], broadcast_dims: Axes, /, *, out_sharding: Any = None
) -> tuple[tuple[int, ...], Any]:
    """The shape of which numbers are drawn, 1 along shared axes, and its sharding."""
    shared = check_axes(broadcast_dims, len(shape), name="broadcast_dims")
    drawn = tuple(1 if axis in shared else size for axis, size in enumerate(shape))
    if out_sharding is None:
        return drawn, None
    spec = (*out_sharding.spec, *(None,) * (len(shape) - len(out_sharding.spec)))
    kept = (None if axis in shared else name for axis, name in enumerate(spec))
    short = PartitionSpec(*kept)  # type: ignore[no-untyped-call]
    return drawn, NamedSharding(out_sharding.mesh, short)


def sharding_of(x: Array, /) -> NamedSharding | None:
    """The sharding of ``x`` on an explicit mesh, or None where the compiler decides.

    On an explicit mesh an array that is made from nothing, such as random bits, must
    be told how it is spread: otherwise every device computes all of it.
    """
    sharding = jax.typeof(x).sharding
    explicit = any(kind == AxisType.Explicit for kind in sharding.mesh.axis_types)
    return sharding if explicit and not sharding.mesh.empty else None


def _rank_of(x: Array, small: Array) -> Array:
    """``small`` with axes of length 1 in front, up to the rank of ``x``."""
    return jnp.reshape(small, (1,) * (x.ndim - small.ndim) + small.shape)


def _wide_dtype(x: Array) -> np.dtype[Any]:
    """The dtype to compute in: x's own, but at least single precision."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating) or x.dtype == jnp.float64:
        return x.dtype
    return np.dtype(np.float32)


def _real_dtype(x: Array) -> np.dtype[Any]:
    """The dtype of a scale: real, as wide as what is computed in."""
    return np.dtype(jnp.finfo(_wide_dtype(x)).dtype)  # type: ignore[no-untyped-call]
