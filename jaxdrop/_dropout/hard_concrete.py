"""Hard concrete gates, for L0 regularization (Louizos et al., 2018)."""

import jax
import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import check_flag, check_real, require_key, select
from jaxdrop._dropout._logistic import logistic
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key

TEMPERATURE = 2 / 3
LOW, HIGH = -0.1, 1.1
"""The gates are stretched to this interval and clipped to [0, 1], as published."""


@named
def hard_concrete(
    key: Key | None, log_alpha: Array, /, *, deterministic: Flag = False
) -> Array:
    """Draws gates in [0, 1] that are often exactly 0 or 1, and differentiable.

    The loss needs :func:`jaxdrop.hard_concrete_penalty`, the expected number of gates
    that are not 0: it closes gates that do not reduce the loss by more than they cost.

    Usage:
      As factors of weights, units or channels, starting from a ``log_alpha`` around 0,
      where a gate is open with probability 0.83. Keep it within ±5 in training; beyond,
      gradients nearly vanish.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      log_alpha: the location of each gate's distribution: the larger, the more likely
        the gate is open. Unbounded and learned, floating point; gradients reach it.
      deterministic: return the gates without noise; may be traced.

    Returns:
      Gates of the shape and dtype of ``log_alpha``.

    Raises:
      ValueError: if a key is missing.
      TypeError: if ``log_alpha`` is not floating point.

    References:
      Louizos, Welling, Kingma, `Learning sparse neural networks through L0
      regularization <https://arxiv.org/abs/1712.01312>`_, ICLR 2018.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> log_alpha = jnp.zeros(1000)
      >>> gates = jaxdrop.hard_concrete(jax.random.key(0), log_alpha)
      >>> bool((gates == 0).any()), bool((gates == 1).any())
      (True, True)
      >>> sure = jnp.array([-9.0, 9.0])
      >>> jaxdrop.hard_concrete(None, sure, deterministic=True).tolist()
      [0.0, 1.0]
    """
    log_alpha = check_real(log_alpha, name="log_alpha")
    flag = check_flag(deterministic)
    if flag is True:
        return _gates(log_alpha)
    key = require_key(key, instead="deterministic=True")
    drawn = _hard_concrete(key, log_alpha)
    return drawn if flag is False else select(flag, _gates(log_alpha), drawn)


@site("jaxdrop.hard_concrete", draws="noise", acts_on="weights")
def _hard_concrete(key: Key, log_alpha: Array) -> Array:
    wide = log_alpha.astype(_masks.wide_dtype(log_alpha))
    noise = logistic(
        key,
        log_alpha.shape,
        dtype=wide.dtype,
        out_sharding=_masks.sharding_of(log_alpha),
    )
    return _noisy_gates(log_alpha, noise)


@_masks.noisy
def _noisy_gates(log_alpha: Array, noise: Array) -> Array:
    wide = log_alpha.astype(noise.dtype)
    return _gates((wide + noise) / TEMPERATURE).astype(log_alpha.dtype)


def apply_gates(x: Array, gates: Array, /) -> Array:
    """Multiplies by gates along the last axes; 0 where a gate is closed."""
    wide = _masks.wide_dtype(x)
    gates = _masks.at_rank(gates, x.ndim)
    gated = (x.astype(wide) * gates.astype(wide)).astype(x.dtype)
    return jnp.where(gates == 0, jnp.zeros((), x.dtype), gated)


def _gates(logits: Array) -> Array:
    stretched = jax.nn.sigmoid(logits) * (HIGH - LOW) + LOW
    return jnp.clip(stretched, 0, 1)
