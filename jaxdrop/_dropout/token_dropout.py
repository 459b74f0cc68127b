"""Token dropout: removing random tokens from a sequence (Liu et al., 2023)."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxdrop import _masks
from jaxdrop._checks import (
    as_count,
    check_axis,
    check_flag,
    check_inexact,
    is_zero,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._numbers import as_numbers
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def token_dropout(
    key: Key | None,
    x: Array,
    /,
    *,
    rate: Rate,
    num_prefix_tokens: int = 0,
    token_axis: int = -2,
    deterministic: Flag = False,
) -> tuple[Array, Array]:
    """Keeps a fixed number of random tokens, in order, and removes the others.

    Also called patch dropout. The sequence becomes shorter, and all later layers do
    less work. Nothing is rescaled. Use the indices to select labels, masks or positions
    of the remaining tokens.

    Usage:
      After position embeddings are added and before the first layer of a vision
      transformer, at a rate of 0.25 to 0.5; in evaluation with all tokens.

    Args:
      key: a PRNG key; may be ``None`` where nothing is dropped.
      x: tokens, floating point or complex, ``(*batch, tokens, features)``.
      rate: the share of tokens to drop, a Python number. The number of kept tokens is
        rounded, and is at least one for rates below 1. Static.
      num_prefix_tokens: how many tokens at the start, such as a class token, are always
        kept; ``rate`` is the share of the others. Static.
      token_axis: the axis of the tokens; the axes before it are batch axes, of which
        each entry has its own draw, and those after it are features. Static.
      deterministic: keep all tokens. Static.

    Returns:
      The kept tokens, and their int32 indices ``(*batch, kept)`` along the token axis,
      in ascending order. In evaluation ``x`` and all indices.

    Raises:
      ValueError: if ``rate``, ``num_prefix_tokens`` or ``token_axis`` is out of range,
        a key is missing, or the token axis is sharded over an explicit mesh or has a
        symbolic size.
      TypeError: if ``x`` is not floating point, or ``rate`` or ``deterministic`` is
        traced, or ``num_prefix_tokens`` is not an integer.

    References:
      Liu, Matsoukas, Strand, Azizpour, Smith, `PatchDropout: economizing vision
      transformers using patch dropout <https://arxiv.org/abs/2208.07220>`_, WACV 2023.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> x = jnp.ones((8, 1 + 196, 32))
      >>> tokens, indices = jaxdrop.token_dropout(
      ...     jax.random.key(0), x, rate=0.5, num_prefix_tokens=1
      ... )
      >>> tokens.shape, indices.shape, bool((indices[:, 0] == 0).all())
      ((8, 99, 32), (8, 99), True)
    """
    flag = check_flag(deterministic)
    if not (flag is True or is_zero(rate)):
        x = check_inexact(x)
    shape = as_numbers(x, "x").shape
    axis = check_axis(token_axis, len(shape), name="token_axis")
    prefix = as_count(num_prefix_tokens, name="num_prefix_tokens", least=None)
    patches = _num_patches(shape[axis], prefix)
    if isinstance(flag, jax.Array):
        raise TypeError(
            "deterministic decides a shape and must be a Python bool; for a traced one "
            "use jaxdrop.dropout with broadcast_dims=(-1,)."
        )
    kept = _masks.kept_count(
        patches,
        rate=rate,
        deterministic=flag,
        axis="token_axis",
        instead="jaxdrop.dropout with broadcast_dims=(-1,), which zeroes tokens",
    )
    if kept == patches:
        indices = jnp.arange(shape[axis], dtype=jnp.int32)
        return x, jnp.broadcast_to(indices, shape[: axis + 1])
    if _masks.is_spread(x, axis):
        raise ValueError(
            f"token_axis {axis} of x is sharded over the mesh; use jax.shard_map, "
            "where each device selects from its own tokens, or jaxdrop.dropout with "
            "broadcast_dims=(-1,), which zeroes tokens."
        )
    key = require_key(key, rate=rate)
    return _token_dropout(key, x, axis=axis, prefix=prefix, kept=kept)


@site(
    "jaxdrop.token_dropout",
    draws="noise",
    acts_on="tokens",
    resizes=True,
    static=("axis", "prefix", "kept"),
)
def _token_dropout(
    key: Key, x: Array, *, axis: int, prefix: int, kept: int
) -> tuple[Array, Array]:
    patches = _masks.kept_indices(
        key,
        (*x.shape[:axis], x.shape[axis] - prefix),
        num_kept=kept,
        out_sharding=_masks.unspread(_masks.sharding_of(x), (axis,), ndim=axis + 1),
    )
    padded = jnp.pad(patches + prefix, ((0, 0),) * axis + ((prefix, 0),))
    position = lax.broadcasted_iota(jnp.int32, padded.shape, axis)
    indices = padded + jnp.where(position < prefix, position, 0)
    at = jnp.reshape(indices, indices.shape + (1,) * (x.ndim - axis - 1))
    return jnp.take_along_axis(x, at, axis=axis, mode="promise_in_bounds"), indices


def _num_patches(tokens: int, num_prefix_tokens: int) -> int:
    if not 0 <= num_prefix_tokens <= tokens:
        raise ValueError(
            f"num_prefix_tokens must be in [0, {tokens}], got {num_prefix_tokens}."
        )
    return tokens - num_prefix_tokens
