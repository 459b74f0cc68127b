"""EPIG: points that are informative about given predictions."""

import jax.numpy as jnp
from jax import lax
from jax.lax import Precision

from jaxdrop._checks import as_count
from jaxdrop._errors import named
from jaxdrop._typing import Array, ArrayLike
from jaxdrop.acquisition._samples import (
    POINTS_AT_A_TIME,
    as_log_probs,
    divergence,
    over_points,
)
from jaxdrop.metrics._compiled import compiled

_NUMBERS_AT_A_TIME = 2**24  # of joint probabilities in epig: 64 MiB of float32


@named
@compiled("chunk_size")
def epig(
    logits: ArrayLike,
    target_logits: ArrayLike,
    /,
    *,
    chunk_size: int | None = None,
) -> Array:
    """The expected information of a label about the predictions for target inputs.

    The mutual information of the label of a point and the label of a target input,
    averaged over targets. Unlike BALD it ignores uncertainty about weights on which no
    target depends.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities of the pool.
      target_logits: ``(samples, targets, classes)``: those of the targets, from the
        same functions: shared draws with the same key.
      chunk_size: the number of pairs of a point and a target that are held at once,
        each with the joint probabilities of its labels, ``classes**2`` numbers. Fewer
        need less memory, more may be faster; None for as many as fit into 64 MiB.
        Static.

    Returns:
      The scores ``(points,)`` in nats, never negative.

    Raises:
      ValueError: if the numbers of samples differ, there are no targets, or
        ``chunk_size`` is not positive.
      TypeError: if ``chunk_size`` is not an integer.

    References:
      Bickford Smith, Kirsch, Farquhar, Gal, Foster, Rainforth, `Prediction-oriented
      Bayesian active learning <https://arxiv.org/abs/2304.08151>`_, AISTATS 2023.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop.acquisition import epig
      >>> logits = 5 * jax.random.normal(jax.random.key(0), (200, 2, 3))
      >>> scores = epig(logits, logits[:, :1])  # the target is the first point
      >>> bool(scores[0] > scores[1])
      True
    """
    pool, targets = (
        as_log_probs(logits),
        as_log_probs(target_logits, name="target_logits"),
    )
    if len(pool) != len(targets):
        raise ValueError(
            "logits and target_logits must come from the same samples, got "
            f"{len(pool)} and {len(targets)}."
        )
    if not targets.shape[1]:
        raise ValueError(f"target_logits must have targets, got shape {targets.shape}.")
    targets = targets.astype(pool.dtype)
    num_pairs = _NUMBERS_AT_A_TIME // (pool.shape[-1] * targets.shape[-1])
    if chunk_size is not None:
        num_pairs = as_count(chunk_size, name="chunk_size")
    num_targets = min(max(num_pairs, 1), targets.shape[1])
    num_points = min(max(num_pairs // num_targets, 1), POINTS_AT_A_TIME)
    of_targets = jnp.exp(targets).swapaxes(0, 1)

    def of_point(log_probs: Array) -> Array:
        mean, apart = _centred(jnp.exp(log_probs))

        def of_pair(target_probs: Array) -> Array:
            target_mean, target_apart = _centred(target_probs)
            # The joint probabilities less those of independent labels.
            joint = jnp.matmul(apart.T, target_apart, precision=Precision.HIGHEST)
            alone = mean[:, None] * target_mean[None, :]
            return divergence(joint.ravel() / len(apart), alone.ravel())

        return lax.map(of_pair, of_targets, batch_size=num_targets).mean()

    return over_points(of_point, pool, num_points)


def _centred(probs: Array) -> tuple[Array, Array]:
    """The mean over samples, and the differences from it."""
    mean = probs.mean(0)
    return mean, probs - mean[None]
