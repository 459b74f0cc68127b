"""Which axes a mask spans, what is drawn along them, and how it is sharded."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdrop._checks import check_axes, check_axis, is_whole
from jaxdrop._typing import Array, Axes


def spatial_axes(
    shape: tuple[int, ...],
    /,
    *,
    num_spatial_dims: int | None,
    channel_axis: int,
) -> Axes:
    """The last ``num_spatial_dims`` axes other than ``channel_axis``.

    By default there are two, in arrays of one batch axis, two spatial axes and one of
    channels; arrays of another rank may mean several things, and need the number.

    Raises:
      ValueError: if the array has too few axes, or the channel axis is out of range.
    """
    if num_spatial_dims is None:
        if len(shape) != 4:
            raise ValueError(
                f"x has {len(shape)} axes, shape {shape}, which does not say how many "
                "of them are spatial: pass num_spatial_dims=1 for (batch, time, "
                "channels), 2 for images and 3 for volumes. The default, 2, is of "
                "arrays (batch, height, width, channels) alone."
            )
        num_spatial_dims = 2
    if not is_whole(num_spatial_dims) or num_spatial_dims not in (1, 2, 3):
        raise ValueError(f"num_spatial_dims must be 1, 2 or 3, got {num_spatial_dims}.")
    if len(shape) < num_spatial_dims + 1:
        raise ValueError(
            f"with num_spatial_dims={num_spatial_dims} x needs at least "
            f"{num_spatial_dims + 1} axes, got shape {shape}."
        )
    channel = check_axis(channel_axis, len(shape), name="channel_axis")
    others = tuple(axis for axis in range(len(shape)) if axis != channel)
    return others[-int(num_spatial_dims) :]


def drawn_shape(
    shape: tuple[int, ...], broadcast_dims: Axes, /, *, out_sharding: Any = None
) -> tuple[tuple[int, ...], Any]:
    """The shape of which numbers are drawn, 1 along shared axes, and its sharding."""
    shared = check_axes(broadcast_dims, len(shape), name="broadcast_dims")
    drawn = tuple(1 if axis in shared else size for axis, size in enumerate(shape))
    return drawn, unspread(out_sharding, shared, ndim=len(shape))


def unspread(sharding: Any, axes: Axes, /, *, ndim: int) -> NamedSharding | None:
    """``sharding`` on the first ``ndim`` axes, but with each of ``axes`` whole."""
    if sharding is None:
        return None
    if isinstance(sharding, PartitionSpec):
        sharding = NamedSharding(jax.sharding.get_abstract_mesh(), sharding)
    spec = (*sharding.spec, *(None,) * (ndim - len(sharding.spec)))
    kept = (None if axis in axes else name for axis, name in enumerate(spec[:ndim]))
    short = PartitionSpec(*kept)
    return NamedSharding(sharding.mesh, short)


def sharding_of(x: Array, /) -> NamedSharding | None:
    """The sharding of ``x`` on an explicit mesh, or None where the compiler decides.

    On an explicit mesh an array that is made from nothing, such as random bits, must
    be given a sharding: otherwise every device computes all of it.
    """
    sharding = jax.typeof(x).sharding
    mesh = sharding.mesh
    explicit = not mesh.empty and AxisType.Explicit in mesh.axis_types
    return sharding if explicit else None


def is_spread(x: Array, axis: int, /) -> bool:
    """Whether an axis, counted from the front, is sharded over an explicit mesh."""
    sharding = sharding_of(x)
    return sharding is not None and sharding.spec[axis : axis + 1] not in ((), (None,))


def at_rank(small: Any, ndim: int, /) -> Array:
    """``small`` with axes of length 1 in front, up to a rank of ``ndim``."""
    return jnp.reshape(small, (1,) * (ndim - jnp.ndim(small)) + jnp.shape(small))
