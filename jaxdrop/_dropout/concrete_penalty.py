"""The penalty of concrete dropout, without which rates tend to 0 (Gal et al., 2017)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop import _masks
from jaxdrop._checks import as_count
from jaxdrop._dropout._weights import is_array, is_inexact, total
from jaxdrop._errors import named
from jaxdrop._numbers import as_array, as_scalar
from jaxdrop._sites import site
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, ArrayLike, PyTree, Scalar


@named
def concrete_penalty(
    logit_rate: ArrayLike,
    params: PyTree,
    /,
    *,
    weight_regularizer: Scalar,
    dropout_regularizer: Scalar,
    num_inputs: int | None = None,
) -> Array:
    """Computes the penalty of a layer under concrete dropout.

    ``weight_regularizer * sum(kernel ** 2) / (1 - rate) - dropout_regularizer *
    num_inputs * entropy(rate)``: the first term shrinks weights, the more the higher
    the rate; the second favours rates close to 1/2. For a Gaussian likelihood of
    precision ``tau``, a prior length-scale ``l`` and ``n`` examples the paper sets
    ``weight_regularizer = l**2 / (tau * n)`` and ``dropout_regularizer = 2 / (tau *
    n)``, and half of the latter for a cross-entropy. Both are meant for a loss that is
    a mean over examples.

    Args:
      logit_rate: ``log(rate / (1 - rate))``, a scalar. Gradients reach it.
      params: the kernel of the layer, or a tree of its parameters. Leaves of a tree
        with fewer than two axes, such as biases, are left out.
      weight_regularizer: the coefficient of the squared weights.
      dropout_regularizer: the coefficient of the entropy, for each input.
      num_inputs: how many inputs are dropped: features, or channels where channels are
        dropped as a whole. By default the second to last axis of the only kernel.

    Returns:
      A scalar, float32 or wider.

    Raises:
      ValueError: if ``logit_rate`` is not a scalar, a coefficient is negative, or
        ``num_inputs`` cannot be inferred from ``params``.

    References:
      Gal, Hron, Kendall, `Concrete dropout <https://arxiv.org/abs/1705.07832>`_,
      NeurIPS 2017.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> kernel = jnp.ones((16, 4))
      >>> loss = lambda logit_rate: jaxdrop.concrete_penalty(
      ...     logit_rate, kernel, weight_regularizer=0.0, dropout_regularizer=1.0
      ... )
      >>> bool(jax.grad(loss)(-2.0) < 0 < jax.grad(loss)(2.0))  # the minimum is at 1/2
      True
    """
    logit_rate = as_scalar(
        logit_rate, name="logit_rate", remedy="; use jax.vmap for one rate per layer"
    )
    strengths = (
        as_strength(value, name=name)
        for name, value in (
            ("weight_regularizer", weight_regularizer),
            ("dropout_regularizer", dropout_regularizer),
        )
    )
    kernels = [params] if is_array(params) else _kernels(params)
    if num_inputs is None:
        num_inputs = _num_inputs(kernels)
    return _concrete_penalty(
        logit_rate,
        [jnp.asarray(as_array(kernel, name="params")) for kernel in kernels],
        *strengths,
        num_inputs=as_count(num_inputs, name="num_inputs"),
    )


@site(
    "jaxdrop.concrete_penalty",
    draws="nothing",
    acts_on="weights",
    static=("num_inputs",),
)
def _concrete_penalty(
    logit_rate: Any,
    kernels: list[Array],
    weight_regularizer: Any,
    dropout_regularizer: Any,
    *,
    num_inputs: int,
) -> Array:
    weights = total(map(_squares, kernels))
    logit = jnp.asarray(logit_rate, weights.dtype)
    near = jnp.clip(logit, -100, 100)  # beyond, the entropy and its gradient are 0
    rate, keep = jax.nn.sigmoid(near), jax.nn.sigmoid(-near)
    entropy = rate * jax.nn.softplus(-near) + keep * jax.nn.softplus(near)
    of_weights = jnp.asarray(weight_regularizer, weights.dtype)
    of_dropout = jnp.asarray(dropout_regularizer, weights.dtype) * float(num_inputs)
    inverse_keep = 1 + jnp.exp(logit)
    return of_weights * weights * inverse_keep - of_dropout * entropy


def _squares(kernel: Array) -> Array:
    wide = kernel.astype(_masks.wide_dtype(kernel))
    return jnp.square(jnp.abs(wide)).sum()


def _kernels(params: PyTree) -> list[Array]:
    leaves = jax.tree.leaves(params)
    return [leaf for leaf in leaves if is_inexact(leaf) and np.ndim(leaf) >= 2]


def _num_inputs(kernels: list[Array]) -> int:
    if len(kernels) != 1 or np.ndim(kernels[0]) < 2:
        shapes = [np.shape(kernel) for kernel in kernels]
        raise ValueError(
            "num_inputs is needed unless params holds exactly one kernel with two or "
            f"more axes, got kernels of shapes {shapes}."
        )
    return int(np.shape(kernels[0])[-2])
