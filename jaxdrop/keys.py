"""Keys by the name of a site, by step, by example and by shard.

A mask is a function of its key. The key of a site is derived from one base key, by
folding in its address, such as "the dropout after block 3, at step 1000". No state is
stored between steps, and the key of a site does not change when other sites are added
or removed.

- :func:`site`: a key by the name of a site, an index and a step.
- :func:`example`: a key for each example, by its identifier.
- :func:`shard`: a key for each shard, inside ``jax.shard_map``.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._checks import require_key
from jaxdrop._errors import named, shown
from jaxdrop._numbers import as_ids, as_numbers
from jaxdrop._paths import path_hash
from jaxdrop._typing import Array, ArrayLike, Key

__all__ = ["example", "shard", "site"]

_INDEX, _STEP = path_hash("jaxdrop.keys.index"), path_hash("jaxdrop.keys.step")


@named
def site(
    key: Key,
    name: str,
    /,
    *,
    index: ArrayLike | None = None,
    step: ArrayLike | None = None,
) -> Key:
    """Derives the key of a site from its name, not from the order of splits.

    Args:
      key: the base key of a run, typed or raw.
      name: the name of the site, for example ``"encoder/attention"``. Static. It is
        hashed by CRC-32, the same in every process and release.
      index: the index among sites of that name, for example the layer of a scan; an
        integer, may be traced.
      step: the training step, so that each step has its own masks; an integer, may be
        traced.

    Returns:
      A key, typed or raw like ``key``. Without ``index`` or ``step`` it differs from
      the keys of all their values.

    Raises:
      TypeError: if ``name`` is not a string, or ``index`` or ``step`` are not integers.
      ValueError: if ``key`` is missing or an array of keys, ``name`` is empty, or
        ``index`` or ``step`` are negative numbers, or arrays.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> key, x = jax.random.key(0), jnp.ones((4, 8))
      >>> for step in range(2):
      ...     k = jaxdrop.keys.site(key, "head", step=step)
      ...     y = jaxdrop.dropout(k, x, rate=0.5)
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {shown(name)}.")
    if not name:
        raise ValueError("name must not be empty; it identifies the site.")
    base = require_key(key, instead="")
    folded = jax.random.fold_in(base, path_hash(name))
    for argument, salt, value in (("index", _INDEX, index), ("step", _STEP, step)):
        if value is not None:
            ids, given = as_ids(value, name=argument), as_numbers(value, argument)
            if isinstance(given, np.ndarray) and (given < 0).any():
                raise ValueError(f"{argument} must be at least 0, got {value}.")
            if ids.ndim:
                raise ValueError(
                    f"{argument} must be a scalar, got shape {ids.shape}; use "
                    f"jax.vmap for one key per {argument}."
                )
            folded = _fold(jax.random.fold_in(folded, salt), ids)
    return _kind_of(key, folded)


@named
def example(key: Key, ids: ArrayLike, /) -> Key:
    """Derives a key for each example, independent of its position in a batch.

    With one key per example the mask of an example does not depend on its place in the
    batch, on the size of the batch, on gradient accumulation or on the number of
    devices: ``jax.vmap(drop)(keys.example(key, ids), x)``.

    Args:
      key: the key of a site at a step, typed or raw.
      ids: identifiers of the examples, integers of any shape, below 2**32; may be
        traced.

    Returns:
      Keys of the shape of ``ids``, typed or raw like ``key``.

    Raises:
      TypeError: if ``ids`` are not integers.
      ValueError: if ``key`` is missing or an array of keys.

    Examples:
      >>> import functools, jax, jax.numpy as jnp, jaxdrop
      >>> key, x = jax.random.key(0), jnp.ones((3, 8))
      >>> drop = jax.vmap(functools.partial(jaxdrop.dropout, rate=0.5))
      >>> a = drop(jaxdrop.keys.example(key, jnp.array([7, 8, 9])), x)
      >>> b = drop(jaxdrop.keys.example(key, jnp.array([9, 1, 7])), x)
      >>> bool((a[0] == b[2]).all()), bool((a[2] == b[0]).all())
      (True, True)
    """
    base = require_key(key, instead="")
    ids = as_ids(ids, name="ids")
    fold = jax.vmap(_fold, in_axes=(None, 0))
    keys = fold(base, ids.ravel()).reshape(ids.shape)
    return _kind_of(key, keys)


@named
def shard(key: Key, axis_names: str | Sequence[str], /) -> Key:
    """Derives a key for each shard along mesh axes, inside ``jax.shard_map``.

    With a replicated key every device draws the same mask. That is correct for
    tensor-parallel shards, which hold copies of one activation, but not for data
    shards, which hold different examples: name the data axes only.

    Args:
      key: a key that is replicated over the mesh, typed or raw.
      axis_names: the mesh axes along which masks are to differ, for example
        ``"data"`` or ``("data", "fsdp")``. Static.

    Returns:
      A key, typed or raw like ``key``, different at each position along those axes.

    Raises:
      ValueError: if ``key`` is missing or an array of keys, an axis is named twice, or
        such a mesh axis is not mapped where this is called.

    Examples:
      >>> import functools, jax, jax.numpy as jnp, jaxdrop
      >>> from jax.sharding import PartitionSpec as P
      >>> mesh = jax.sharding.Mesh(jax.devices()[:1], ("data",))
      >>> def local(key, x):
      ...     return jaxdrop.dropout(jaxdrop.keys.shard(key, "data"), x, rate=0.5)
      >>> drop = jax.shard_map(
      ...     local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data")
      ... )
      >>> drop(jax.random.key(0), jnp.ones((4, 8))).shape
      (4, 8)
    """
    folded = require_key(key, instead="")
    names = (axis_names,) if isinstance(axis_names, str) else axis_names
    if not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
        raise TypeError(
            "axis_names must be the name of a mesh axis, or several, got "
            f"{shown(names)}."
        )
    names = tuple(names)
    if len(set(names)) != len(names):
        raise ValueError(f"axis_names names an axis twice: {names}.")
    for name in sorted(names):
        try:
            position = lax.axis_index(name)
        except NameError:
            raise ValueError(
                f"no mesh axis {name!r} is mapped here; call it inside jax.shard_map "
                "over a mesh with that axis. Under plain jit one key is right for "
                "every sharding."
            ) from None
        folded = jax.random.fold_in(folded, path_hash(name))
        folded = jax.random.fold_in(folded, position)
    return _kind_of(key, folded)


def _fold(key: Key, value: Array) -> Key:
    """Folds an integer in: its low word, and its high word if that is not 0.

    So the key does not depend on the width of the integer's dtype.
    """
    folded = jax.random.fold_in(key, value.astype(jnp.uint32))
    if value.dtype.itemsize < 8:
        return folded
    high = (value >> 32).astype(jnp.uint32)
    fits = (high == 0) | ((value < 0) & (value >= -(2**31)))
    return jnp.where(fits, folded, jax.random.fold_in(folded, high))


def _kind_of(key: Key, folded: Key) -> Key:
    """``folded`` as a typed or raw key, like ``key``."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return folded
    return jax.random.key_data(folded)


def __dir__() -> list[str]:
    return sorted(__all__)
