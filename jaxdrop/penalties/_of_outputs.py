"""Penalties of outputs: confidence, inconsistency, and sensitivity to inputs."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxdrop import prng
from jaxdrop._checks import (
    as_count,
    check_axis,
    check_callable,
    check_inexact,
    check_rate,
    check_real,
    require_key,
)
from jaxdrop._errors import named
from jaxdrop._loops import varying_like
from jaxdrop._norms import norms, squared, widened
from jaxdrop._numbers import as_labels, as_logits, as_scalar
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, Key, Rate, Scalar
from jaxdrop.penalties._sums import (
    batch_weights,
    scaled_sum,
    weighted_mean,
    without_unweighted,
)


@named
def smoothed_cross_entropy(
    logits: Array, labels: Array, /, *, alpha: Rate, weights: ArrayLike | None = None
) -> Array:
    """Computes the cross-entropy with smoothed labels, without a one-hot array.

    The cross-entropy for targets ``(1 - alpha) * one_hot(labels) + alpha /
    num_classes``. For integer labels it is ``logsumexp(z) - (1 - alpha) * z[label] -
    alpha * mean(z)``, which needs no array of one-hot labels. Labels from mixup or
    cutmix are soft already: use ``optax.softmax_cross_entropy`` for them.

    Args:
      logits: ``(*batch, num_classes)``, floating point, with two classes or more. For
        the single logit of a binary model use ``jaxdrop.metrics.binary_logits``.
      labels: integers of any width, of shape ``batch``. A label outside
        ``[0, num_classes)``, such as -1 for padding, makes the loss NaN unless its
        weight is 0.
      alpha: the share of the targets that is distributed evenly over all classes, in
        [0, 1]; usually 0.1. It may be a traced JAX scalar, which gives NaN out of
        range.
      weights: the weights of the examples, numbers of at least 0 or bools, of shape
        ``batch``.

    Returns:
      The weighted mean over the batch, a scalar, in float32 or wider; 0 if all weights
      are 0. Under ``vmap`` the loss of each example.

    Raises:
      ValueError: if ``alpha`` or a weight is out of range, shapes do not agree, or
        there is only one class.
      TypeError: if ``labels`` are not integers or ``logits`` are not floating point.

    References:
      Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, `Rethinking the inception architecture
      for computer vision <https://arxiv.org/abs/1512.00567>`_, CVPR 2016.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> logits, labels = jnp.zeros((4, 10)), jnp.arange(4)
      >>> loss = penalties.smoothed_cross_entropy(logits, labels, alpha=0.1)
      >>> bool(jnp.isclose(loss, jnp.log(10.0)))
      True
    """
    alpha = as_scalar(alpha, name="alpha")
    check_rate(alpha, name="alpha")
    logits = _check_logits(logits, batch_axes=0)
    num_classes = logits.shape[-1]
    labels = jnp.asarray(as_labels(labels, name="labels"))
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got {labels.dtype}.")
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels {labels.shape} must have the shape of logits {logits.shape} "
            f"without its last axis, the classes. {_ONE_LOGIT}"
        )
    examples = batch_weights(weights, labels.shape)
    wide = without_unweighted(widened(logits), examples)
    # Subtracting the largest logit does not change the loss, but rounds less.
    most = lax.stop_gradient(jnp.max(wide, axis=-1, keepdims=True))
    wide = wide - jnp.where(jnp.isfinite(most), most, 0)
    share = jnp.asarray(alpha).astype(wide.dtype)
    share = jnp.where((share >= 0) & (share <= 1), share, jnp.nan)
    known = (labels >= 0) & (labels < num_classes)
    index = jnp.where(known, labels, 0)[..., None]
    of_label = jnp.take_along_axis(wide, index, axis=-1, mode="clip")[..., 0]
    mean = jnp.where(share == 0, 0, share * jnp.mean(wide, axis=-1))
    loss = jax.nn.logsumexp(wide, axis=-1) - (1 - share) * of_label - mean
    loss = jnp.where(known, loss, jnp.nan)
    return weighted_mean(loss, examples)


@named
def confidence(
    logits: Array,
    /,
    *,
    coefficient: Scalar = 1.0,
    weights: ArrayLike | None = None,
) -> Array:
    """Penalizes confident predictions: negative entropy, ``sum(p * log(p))``.

    It is between ``-log(num_classes)``, where all classes are equally likely, and 0. A
    class with a logit of minus infinity is ignored.

    Args:
      logits: ``(*batch, num_classes)``, floating point, with a batch axis and two
        classes or more. For the single logit of a binary model use
        ``jaxdrop.metrics.binary_logits``; for one example, ``logits[None]``.
      coefficient: a number of at least 0, or a JAX scalar, traced or not, which gives
        NaN where it is negative or not finite.
      weights: the weights of the examples, numbers of at least 0 or bools, of shape
        ``batch``.

    Returns:
      The weighted mean over the batch, a scalar, in float32 or wider; 0 if all weights
      are 0.

    Raises:
      ValueError: if ``coefficient`` or a weight is negative, shapes do not agree, there
        is only one class, or a batch axis is missing.
      TypeError: if ``logits`` are not floating point.

    References:
      Pereyra, Tucker, Chorowski, Kaiser, Hinton, `Regularizing neural networks by
      penalizing confident output distributions <https://arxiv.org/abs/1701.06548>`_,
      2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> bool(jnp.isclose(penalties.confidence(jnp.zeros((4, 10))), -jnp.log(10.0)))
      True
    """
    coefficient = as_strength(coefficient, name="coefficient")
    logits = _check_logits(logits)
    examples = batch_weights(weights, logits.shape[:-1])
    log_p = jax.nn.log_softmax(without_unweighted(widened(logits), examples), axis=-1)
    p = jnp.exp(log_p)
    possible = p != 0  # NaN stays NaN
    products = jnp.where(possible, p * jnp.where(possible, log_p, 0), 0)
    mean = weighted_mean(jnp.sum(products, axis=-1), examples)
    return scaled_sum([mean], coefficient)


@named
def consistency(
    logits: Array,
    /,
    *,
    coefficient: Scalar = 1.0,
    pass_axis: int = 0,
    weights: ArrayLike | None = None,
) -> Array:
    """Penalizes passes through a network that disagree about the same example (R-Drop).

    The mean of ``KL(p_i || p_j)`` over all ordered pairs of passes. For two passes it
    is the published ``(KL(p || q) + KL(q || p)) / 2``. It is computed as the sum over
    classes of the covariance of ``p`` and ``log p`` over the passes, which has one term
    for each pass, and no cancellation where the passes nearly agree.

    Args:
      logits: the logits of several passes, each with its own masks, ``(num_passes,
        *batch, num_classes)``, for example from ``jax.vmap`` over keys, with a batch
        axis and two classes or more. For the single logit of a binary model use
        ``jaxdrop.metrics.binary_logits``; for one example, ``logits[:, None]``.
      coefficient: a number of at least 0, or a JAX scalar, which gives NaN where it is
        negative or not finite; usually 1 to 5.
      pass_axis: the axis of the passes. Static.
      weights: the weights of the examples, numbers of at least 0 or bools, of shape
        ``batch``.

    Returns:
      The weighted mean over the batch, a scalar of at least 0, in float32 or wider; 0
      if all weights are 0, infinite if a class is impossible in some passes only.

    Raises:
      ValueError: if there are fewer than two passes, ``coefficient`` or a weight is
        negative, shapes do not agree, there is only one class, or a batch axis is
        missing.
      TypeError: if ``logits`` are not floating point.

    References:
      Liang, Wu, Li, Wang, Meng, Qin, Chen, Zhang, Liu, `R-Drop: Regularized dropout for
      neural networks <https://arxiv.org/abs/2106.14448>`_, NeurIPS 2021.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> logits = jax.random.normal(jax.random.key(0), (3, 8, 10))
      >>> bool(penalties.consistency(logits) > 0)
      True
      >>> float(penalties.consistency(jnp.ones((3, 8, 10))))
      0.0
    """
    coefficient = as_strength(coefficient, name="coefficient")
    on_host = isinstance(logits, np.ndarray)
    logits = logits if on_host else check_real(logits, name="logits")
    if not logits.ndim:
        _check_logits(logits)
    axis = check_axis(pass_axis, logits.ndim, name="pass_axis")
    logits = (np if on_host else jnp).moveaxis(logits, axis, 0)
    num_passes = logits.shape[0]
    if num_passes < 2 or logits.ndim < 2:
        raise ValueError(
            "logits must hold at least two passes, given as (num_passes, *batch, "
            f"num_classes); got shape {logits.shape}."
        )
    logits = widened(_check_logits(logits, batch_axes=2))
    examples = batch_weights(weights, logits.shape[1:-1])
    every = None if examples is None else examples[None]
    log_p = jax.nn.log_softmax(without_unweighted(logits, every), axis=-1)
    p = jnp.exp(log_p)
    impossible = log_p == -jnp.inf
    # A class that is impossible in one pass and possible in another.
    apart = jnp.any(jnp.any(impossible, 0) & ~jnp.all(impossible, 0), axis=-1)
    log_p = jnp.where(impossible, 0, log_p)
    products = (p - jnp.mean(p, 0, keepdims=True)) * (
        log_p - jnp.mean(log_p, 0, keepdims=True)
    )
    divergence = jnp.sum(products, axis=(0, -1)) / (num_passes - 1)
    divergence = jnp.where(apart & ~jnp.isnan(divergence), jnp.inf, divergence)
    mean = weighted_mean(divergence, examples)
    return scaled_sum([mean], coefficient)


@named
def jacobian(
    key: Key | None,
    function: Callable[[Array], Array],
    x: Array,
    /,
    *,
    coefficient: Scalar = 1.0,
    num_projections: int | None = 1,
) -> Array:
    """Penalizes the sensitivity of outputs to inputs: ``||d function / d x||**2``.

    The squared Frobenius norm of the Jacobian of each example, as a mean over the
    batch. By default it is an unbiased estimate from random directions in the space of
    outputs, at the cost of one backward pass for each. The published factor of one half
    is not included; use the coefficient.

    Args:
      key: a PRNG key; may be None if ``num_projections`` is None.
      function: a function of a batch, ``(batch, *inputs)`` to ``(batch, *outputs)``, in
        which examples do not influence each other.
      x: a batch of inputs, floating point.
      coefficient: a number of at least 0, or a JAX scalar, traced or not.
      num_projections: the number of directions that are drawn for each example; None
        for the exact norm, at the cost of one backward pass for each output. Static.

    Returns:
      A scalar, in float32 or wider.

    Raises:
      ValueError: if ``coefficient`` is negative, ``num_projections`` is less than 1, a
        key is missing, or ``function`` does not map a batch to a batch.
      TypeError: if ``x`` is not floating point.

    References:
      Hoffman, Roberts, Yaida, `Robust learning with Jacobian regularization
      <https://arxiv.org/abs/1908.02729>`_, 2019.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> kernel = jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> network = lambda x: x @ kernel
      >>> x = jnp.ones((5, 2))
      >>> float(penalties.jacobian(None, network, x, num_projections=None))
      30.0
    """
    coefficient = as_strength(coefficient, name="coefficient")
    check_callable(function, name="function")
    x = check_inexact(x, name="x")
    if num_projections is not None:
        key = require_key(key)
        x = varying_like(x, key)
    y, pull_back = jax.vjp(function, x)
    if not isinstance(y, jax.Array) or y.shape[:1] != x.shape[:1] or not x.ndim:
        found = y.shape if isinstance(y, jax.Array) else type(y).__name__
        raise ValueError(
            "function must map a batch (batch, *inputs) to one array (batch, "
            f"*outputs); it maps {x.shape} to {found}."
        )
    batch, num_outputs = y.shape[0], math.prod(y.shape[1:])
    if key is None or num_projections is None:
        basis = jnp.eye(num_outputs, dtype=y.dtype)[:, None]
        directions = jnp.broadcast_to(basis, (num_outputs, batch, num_outputs))
        scale = 1.0
    else:
        num_projections = as_count(num_projections, name="num_projections")
        drawn = prng.normal(key, (num_projections, batch, num_outputs))
        length = norms(drawn, (-1,))
        directions = (drawn / jnp.where(length > 0, length, 1)).astype(y.dtype)
        scale = num_outputs / num_projections

    def of_direction(direction: Array) -> Array:
        return jnp.sum(squared(pull_back(direction.reshape(y.shape))[0]))

    directions = varying_like(directions, y)
    total = jnp.sum(jax.vmap(of_direction)(directions)) * scale / max(batch, 1)
    return scaled_sum([total], coefficient)


_ONE_LOGIT = (
    "A binary model with one logit has two classes: pass "
    "jaxdrop.metrics.binary_logits(logit), of shape (*batch, 2), for logits of shape "
    "(*batch,)."
)


def _check_logits(logits: Array, *, batch_axes: int = 1) -> Array:
    """Returns logits as an array of real numbers with an axis of classes, or raises.

    A softmax over a single class always gives 1, and a softmax over the batch, where
    the axis of classes has been squeezed away, is meaningless. Neither raises, so at
    least ``batch_axes`` axes are required in front of the classes.
    """
    if isinstance(logits, np.ndarray):
        logits = as_logits(logits, name="logits")
    logits = check_real(logits, name="logits")
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(
            "logits must be (*batch, num_classes) with at least two classes, got shape "
            f"{logits.shape}. {_ONE_LOGIT}"
        )
    if logits.shape[-1] == 1:
        raise ValueError(
            f"logits of shape {logits.shape} have one class, which always has "
            f"probability 1. {_ONE_LOGIT}"
        )
    if logits.ndim <= batch_axes:
        raise ValueError(
            f"logits of shape {logits.shape} have no batch axis. {_ONE_LOGIT} For one "
            "example of several classes insert the axis: jnp.expand_dims(logits, -2)."
        )
    return logits
