"""Shake-Shake: mixing two branches at random (Gastaldi, 2017)."""

import jax
import jax.numpy as jnp

from jaxdrop import _masks, prng
from jaxdrop._checks import (
    check_axis,
    check_flag,
    check_inexact,
    check_same_shape,
    require_key,
    select,
)
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key


@named
def shake_shake(
    key: Key | None,
    a: Array,
    b: Array,
    /,
    *,
    batch_axis: int | None = 0,
    deterministic: Flag = False,
) -> Array:
    """Mixes two branches with random weights, and their gradients with others.

    In the forward pass each example gets ``alpha * a + (1 - alpha) * b``; in the
    backward pass the gradients are weighted by ``beta`` and ``1 - beta`` instead. Both
    are uniform on [0, 1] and independent: the gradient differs from that of the output,
    as published. In evaluation the result is the expectation, the mean of the branches.
    Forward-mode and reverse-mode differentiation agree.

    Usage:
      In residual blocks with two branches, ``x + shake_shake(key, first(x),
      second(x))``, usually in every block of a network.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      a: the output of a branch, floating point or complex.
      b: the output of the other branch, of the shape and dtype of ``a``.
      batch_axis: the axis of the examples, or ``None`` for one mixture for all, for
        use under ``jax.vmap``. Static.
      deterministic: return the mean of the branches; may be traced.

    Returns:
      An array with the shape and dtype of ``a``.

    Raises:
      ValueError: if ``batch_axis`` is out of range, the shapes differ, or a key is
        missing.
      TypeError: if the branches are not floating point, or have different dtypes.

    References:
      Gastaldi, `Shake-Shake regularization <https://arxiv.org/abs/1705.07485>`_, 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> a, b = jnp.zeros((4, 8)), jnp.ones((4, 8))
      >>> y = jaxdrop.shake_shake(jax.random.key(0), a, b)
      >>> bool((y == y[:, :1]).all()), bool((0 < y).all() and (y < 1).all())
      (True, True)
    """
    a, b = check_inexact(a, name="a"), check_inexact(b, name="b")
    check_same_shape(a, b, names="a and b")
    if a.dtype != b.dtype:
        raise TypeError(
            f"a and b must have the same dtype, got {a.dtype} and {b.dtype}."
        )
    if batch_axis is not None:
        batch_axis = check_axis(batch_axis, a.ndim, name="batch_axis")
    flag = check_flag(deterministic)
    if flag is True:
        return _mix(jnp.float32(0.5), a, b)
    key = require_key(key, instead="deterministic=True")
    drawn = _shake_shake(key, a, b, batch_axis=batch_axis)
    return drawn if flag is False else select(flag, _mix(jnp.float32(0.5), a, b), drawn)


@site("jaxdrop.shake_shake", draws="noise", acts_on="branches", static=("batch_axis",))
def _shake_shake(key: Key, a: Array, b: Array, *, batch_axis: int | None) -> Array:
    rest = tuple(axis for axis in range(a.ndim) if axis != batch_axis)
    shape, sharding = _masks.drawn_shape(
        a.shape, rest, out_sharding=_masks.sharding_of(a)
    )
    alpha, beta = (
        prng.uniform(key, shape, out_sharding=sharding) for key in jax.random.split(key)
    )
    return _shaken(alpha, beta, a, b)


@jax.custom_jvp
def _shaken(alpha: Array, beta: Array, a: Array, b: Array) -> Array:
    del beta
    return _mix(alpha, a, b)


@_shaken.defjvp
def _shaken_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    _, beta, _, _ = primals
    _, _, to_a, to_b = tangents
    return _shaken(*primals), _mix(beta, to_a, to_b)


def _mix(weight: Array, a: Array, b: Array) -> Array:
    wide = _masks.wide_dtype(a)
    weight = jnp.reshape(weight, weight.shape or (1,) * a.ndim).astype(wide)
    return (weight * a.astype(wide) + (1 - weight) * b.astype(wide)).astype(a.dtype)
