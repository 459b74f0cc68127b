"""Stochastic depth that runs a branch on part of the batch (Oquab et al., 2023)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import (
    check_axis,
    check_callable,
    check_flag,
    check_inexact,
    check_rate,
    is_identity,
    is_number,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._numbers import as_array, as_numbers
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, PyTree, Rate


@named
def subset_stochastic_depth(
    key: Key | None,
    branch: Callable[[PyTree], Array],
    x: PyTree,
    /,
    *,
    rate: Rate,
    batch_axis: int = 0,
    deterministic: Flag = False,
) -> Array:
    """Runs a residual branch on a random subset of the examples, and not on the rest.

    Unlike in :func:`jaxdrop.stochastic_depth`, dropped branches are not computed: the
    work of the branch falls in proportion to the rate, forward and backward. The number
    of kept examples is fixed, so that sizes are static, and their outputs are divided
    by their share of the batch. The mean over keys is the output for the whole batch if
    ``branch`` treats examples independently. Batch normalization in ``branch`` does
    not: its output and its running averages are computed from the subset alone, and the
    statistics of a small subset are noisy. At rate 1 ``branch`` is called only for its
    effect on its state; ``jax.jit`` removes the rest of its work.

    Where the batch is sharded over an automatic mesh, every device gathers the selected
    examples and computes all of them; over an explicit mesh it raises. Inside
    ``jax.shard_map`` each device selects from its own examples without communication;
    give each its own key with :func:`jaxdrop.keys.shard`.

    Usage:
      ``x + subset_stochastic_depth(key, branch, x, rate=rate)``, in the same blocks and
      at the same rates as :func:`jaxdrop.stochastic_depth`; DINOv2 trains with 0.4.

    Args:
      key: a PRNG key; may be ``None`` where nothing is dropped.
      branch: a function of ``x`` that keeps the batch axis in place.
      x: the data, an array or a tree of arrays that share the batch axis.
      rate: the share of examples to drop, a Python number. The number of kept examples
        is rounded, and is at least one for rates below 1. Static.
      batch_axis: the axis of the examples, in ``x`` and in the output. Static.
      deterministic: run ``branch`` on all of ``x``. Static.

    Returns:
      The output of ``branch``, and 0 for examples on which it was not run.

    Raises:
      ValueError: if ``rate`` or ``batch_axis`` is out of range, batch sizes differ,
        ``branch`` changes the batch size, a key is missing, or the batch axis is
        sharded over an explicit mesh or has a symbolic size.
      TypeError: if ``rate`` or ``deterministic`` is traced, or the output of ``branch``
        is not floating point.

    References:
      Oquab, Darcet, Moutakanni et al., `DINOv2: learning robust visual features without
      supervision <https://arxiv.org/abs/2304.07193>`_, TMLR 2024, section 5.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x, kernel = jnp.ones((8, 4)), jnp.ones((4, 4))
      >>> def branch(x):
      ...     print("on", x.shape)
      ...     return x @ kernel
      >>> y = jaxdrop.subset_stochastic_depth(jax.random.key(0), branch, x, rate=0.75)
      on (2, 4)
      >>> y.shape, sorted(set(y.ravel().tolist()))
      ((8, 4), [0.0, 16.0])
    """
    check_callable(branch, name="branch")
    flag = check_flag(deterministic)
    if isinstance(flag, jax.Array):
        raise TypeError(
            "deterministic decides a shape and must be a Python bool; for a traced one "
            "use jaxdrop.stochastic_depth."
        )
    if is_number(rate) and is_identity(rate, flag):
        check_rate(rate)
        return branch(x)
    size = _batch_size(x, batch_axis)
    kept = _masks.kept_count(
        size,
        rate=rate,
        deterministic=flag,
        axis="batch_axis",
        instead="jaxdrop.stochastic_depth",
    )
    if kept == size:
        return branch(x)
    if kept == 0:
        return jnp.zeros_like(branch(x))  # not eval_shape: branch may update a module
    key = require_key(key)
    rows = _rows(key, size=size, kept=kept)

    def take(leaf: Any) -> Array:
        array = jnp.asarray(as_array(leaf, name="x"))
        return _take(array, rows, batch_axis)

    taken = jax.tree.map(take, x)
    out = check_inexact(branch(taken), name="the output of branch")
    return _put(out, rows, batch_axis, size=size)


@site(
    "jaxdrop.subset_stochastic_depth",
    draws="noise",
    acts_on="branches",
    resizes=True,
    static=("size", "kept"),
)
def _rows(key: Key, *, size: int, kept: int) -> Array:
    return _masks.kept_indices(key, (size,), num_kept=kept)


def _take(leaf: Array, rows: Array, batch_axis: int) -> Array:
    axis = check_axis(batch_axis, leaf.ndim, name="batch_axis")
    if _masks.is_spread(leaf, axis):
        raise ValueError(
            f"batch_axis {axis} of x is sharded over the mesh; use jax.shard_map, "
            "where each device selects from its own examples."
        )
    return leaf.at[_at(rows, axis)].get(
        mode="promise_in_bounds",
        indices_are_sorted=True,
        unique_indices=True,
        out_sharding=_masks.sharding_of(leaf),
    )


def _put(out: Array, rows: Array, batch_axis: int, *, size: int) -> Array:
    """Writes the rows of ``out``, divided by their share, into a batch of zeros."""
    axis = check_axis(batch_axis, out.ndim, name="batch_axis")
    kept = rows.shape[0]
    if out.shape[axis] != kept:
        raise ValueError(
            f"branch was given {kept} examples along axis {batch_axis} and returned "
            f"shape {out.shape}."
        )
    everything = jnp.ones((1,) * out.ndim, bool)
    scaled = _masks.apply(out, everything, keep=kept / size)
    shape = (*out.shape[:axis], size, *out.shape[axis + 1 :])
    zeros = jnp.zeros(shape, out.dtype, out_sharding=_masks.sharding_of(out))
    return zeros.at[_at(rows, axis)].set(
        scaled, mode="promise_in_bounds", indices_are_sorted=True, unique_indices=True
    )


def _at(rows: Array, axis: int) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, rows)


def _batch_size(x: PyTree, batch_axis: int) -> int:
    shapes = [as_numbers(leaf, "x").shape for leaf in jax.tree.leaves(x)]
    sizes = {
        shape[check_axis(batch_axis, len(shape), name="batch_axis")] for shape in shapes
    }
    if len(sizes) != 1:
        raise ValueError(
            f"the arrays of x must share one batch size, got {sorted(sizes, key=str)}."
        )
    return sizes.pop()
