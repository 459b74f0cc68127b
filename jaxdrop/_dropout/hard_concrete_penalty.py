"""The expected number of open gates (Louizos et al., 2018)."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._dropout._weights import total
from jaxdrop._dropout.hard_concrete import HIGH, LOW, TEMPERATURE
from jaxdrop._errors import named
from jaxdrop._numbers import as_real
from jaxdrop._sites import site
from jaxdrop._typing import Array, PyTree

_SHIFT = TEMPERATURE * math.log(-LOW / HIGH)


@named
def hard_concrete_penalty(log_alpha: PyTree, /) -> Array:
    """The expected number of gates of :func:`jaxdrop.hard_concrete` that are not 0.

    Multiply it by the cost of an open gate, and add it to a loss that is a sum over the
    training set; for a mean over examples divide it by their number.

    Args:
      log_alpha: an array, or a tree of arrays.

    Returns:
      A scalar, float32 or wider.

    References:
      Louizos, Welling, Kingma, `Learning sparse neural networks through L0
      regularization <https://arxiv.org/abs/1712.01312>`_, ICLR 2018, equation 12.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> round(float(jaxdrop.hard_concrete_penalty(jnp.zeros(100))), 1)
      83.2
    """

    def count(leaf: Any) -> Array:
        return _penalty(jnp.asarray(as_real(leaf, name="log_alpha")))

    return total(jax.tree.leaves(jax.tree.map(count, log_alpha)))


@site("jaxdrop.hard_concrete_penalty", draws="nothing", acts_on="weights")
def _penalty(log_alpha: Array) -> Array:
    wide = log_alpha.astype(_masks.wide_dtype(log_alpha))
    return jax.nn.sigmoid(wide - _SHIFT).sum()
