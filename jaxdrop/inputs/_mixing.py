"""Mixtures of pairs of examples: pairs, shares, mixed data and labels."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop import _masks, prng
from jaxdrop._checks import check_inexact
from jaxdrop._norms import widened
from jaxdrop._numbers import as_array
from jaxdrop._typing import Array, Key, PyTree, Scalar


def symmetric_beta(key: Key, shape: tuple[int, ...], /, *, alpha: Scalar) -> Array:
    """Draws exactly from Beta(alpha, alpha), with two uniform numbers for each draw.

    There is no rejection loop, so that ``alpha`` may be traced. At ``alpha = 0`` the
    result is 1. (The limit distribution there is a fair coin between 0 and 1.)

    Args:
      key: a PRNG key.
      shape: the shape to draw. Static.
      alpha: both parameters of the distribution, a scalar of at least 0.

    Returns:
      float32 numbers in [0, 1], with a small relative error near 0 too; NaN where a
      traced alpha is negative or NaN.

    References:
      Bailey, `Polar generation of random variates with the t-distribution
      <https://doi.org/10.2307/2153537>`_, Mathematics of Computation 1994. For ``t``
      with ``2 * alpha`` degrees of freedom, ``(1 + t / sqrt(2 * alpha + t**2)) / 2``
      has the distribution Beta(alpha, alpha).
    """
    radius, angle = prng.uniform(key, (2, *shape))
    alpha = jnp.asarray(alpha).astype(jnp.float32)
    exponent = jnp.log(radius) / alpha
    cosine = jnp.cos(2 * math.pi * angle)
    power = jnp.exp(exponent)  # radius**(1 / alpha)
    side = jnp.square(cosine) * -jnp.expm1(exponent)
    whole = jnp.maximum(power + side, np.finfo(np.float32).tiny)
    smaller = power / whole / (1 + jnp.sqrt(side / whole)) / 2
    draw = jnp.where(cosine < 0, smaller, 1 - smaller)
    return jnp.where(alpha == 0, 1.0, jnp.where(alpha > 0, draw, jnp.nan))


def partners(key: Key, batch: int, /) -> Array:
    """A random permutation: for each example, the one with which it is mixed."""
    return jnp.argsort(prng.random_bits(key, (batch,)))


def mixed(x: Array, partner: Array, share: Array, /) -> Array:
    """``share * x[i] + (1 - share) * x[partner[i]]``, in the dtype of ``x``.

    Args:
      x: ``(batch, ...)``, floating point.
      partner: a permutation of the batch.
      share: the share of each example, ``(batch,)`` or ``(1,)``.
    """
    # Partners are gathered before widening: half the bytes for half precision.
    wide, other = widened(x), widened(of_partners(x, partner))
    weight = share.reshape(-1, *(1 for _ in x.shape[1:])).astype(wide.dtype)
    return (weight * wide + (1 - weight) * other).astype(x.dtype)


def of_partners(x: Array, partner: Array, /) -> Array:
    """The partner of each example; gathered across devices if the batch is sharded."""
    return x.at[partner].get(
        mode="promise_in_bounds",
        unique_indices=True,
        out_sharding=_masks.sharding_of(x),
    )


def check_batch(x: Array, labels: PyTree, /) -> tuple[Array, PyTree]:
    """Returns data and soft labels as arrays of the same batch size, or raises."""
    x = check_inexact(x)
    if not x.ndim:
        raise ValueError("x must be a batch, whose examples are mixed, got a scalar.")

    def check_label(label: Array) -> Array:
        label = jnp.asarray(as_array(label, name="labels"))
        if not jnp.issubdtype(label.dtype, jnp.floating):
            raise TypeError(
                f"labels must be shares of classes to be mixed, got {label.dtype}; use "
                "jax.nn.one_hot(labels, num_classes)."
            )
        if label.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"labels {label.shape} and x {x.shape} must have the same batch size; "
                "their first axes differ."
            )
        return label

    return x, jax.tree.map(check_label, labels)
