"""Checks of probabilities, and two classes made of one logit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._errors import named
from jaxdrop._numbers import as_array, as_host, as_numbers, as_real
from jaxdrop._typing import Array, ArrayLike

SLACK = 1e-2  # how far above 1 the rounding of bfloat16 may take a probability


@named
def binary_logits(logit: ArrayLike, /) -> Array:
    """Makes the logits of two classes from the one logit of a binary model.

    A model with one output gives the logit ``z`` of the positive class, and its
    probability is ``sigmoid(z)``. A softmax over this single output is 1 for any
    ``z``. With ``[0, z]`` the softmax is ``[1 - sigmoid(z), sigmoid(z)]``, so that
    class 1 is the positive one, and all functions of class logits can be used: metrics,
    acquisition, penalties, Monte-Carlo samples.

    Args:
      logit: ``(*batch, 1)`` or ``(*batch)``, floating point. A last axis of size 1 is
        the output's; reshape a ``(1,)`` of one example to ``(1, 1)``.

    Returns:
      The logits ``(*batch, 2)``, in the dtype of ``logit``; integers become float32.

    Raises:
      TypeError: if ``logit`` does not hold real numbers.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import metrics
      >>> z = jnp.array([[2.0], [-1.0]])  # one logit for each of two examples
      >>> logits = metrics.binary_logits(z)
      >>> logits.tolist()
      [[0.0, 2.0], [0.0, -1.0]]
      >>> probs = jax.nn.softmax(logits)
      >>> bool(jnp.allclose(probs[:, 1:], jax.nn.sigmoid(z)))
      True
      >>> f"{metrics.negative_log_likelihood(logits, jnp.array([1, 0])):.4f}"
      '0.2201'
    """
    given = as_array(logit, name="logit")
    if given.dtype == bool or jnp.issubdtype(given.dtype, jnp.complexfloating):
        raise TypeError(f"logit must hold real numbers, got an array of {given.dtype}.")
    z = jnp.asarray(given)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        z = z.astype(jnp.result_type(float))
    if z.ndim and z.shape[-1] == 1:
        z = z[..., 0]
    return jnp.stack([jnp.zeros_like(z), z], axis=-1)


def check_classes(shape: tuple[int, ...], /, *, name: str) -> None:
    """Raises for a last axis of one class, over which every softmax is 1."""
    if shape[-1] != 1:
        return
    remedy = (
        "make it two with jnp.concatenate([1 - p, p], axis=-1)"
        if name == "probs"
        else "make two classes of it with jaxdrop.metrics.binary_logits"
    )
    raise ValueError(
        f"{name} must have at least two classes on the last axis, got one: shape "
        f"{shape}. If it is the one output of a binary model, {remedy}."
    )


def as_probs(value: Any, weights: Any, /) -> Array | np.ndarray:
    """Returns probabilities whose largest one is the one in their own precision.

    Raises:
      ValueError: if NumPy probabilities of examples that count are not in ``[0, 1]``.
    """
    rounded = as_real(value, name="probs")
    if isinstance(rounded, jax.Array):
        return rounded
    exact = as_host(value, "probs")
    if not exact.ndim or not exact.size or rounded.dtype.kind == "b":
        return rounded
    _check_range(np.asarray(rounded, np.float64), weights)
    if exact.dtype == rounded.dtype:
        return rounded
    best = np.expand_dims(exact.argmax(-1), -1)
    moved = best != np.expand_dims(rounded.argmax(-1), -1)
    if not moved.any():
        return rounded
    top = np.take_along_axis(rounded, best, -1)
    raised = np.where(moved, np.nextafter(top, top.dtype.type(np.inf)), top)
    rounded = rounded.copy()
    np.put_along_axis(rounded, best, raised, -1)
    return rounded


def _check_range(probs: np.ndarray, weights: Any) -> None:
    outside = (probs < 0) | (probs > 1 + SLACK)
    if weights is not None:
        counts = as_numbers(weights, "weights")
        if isinstance(counts, jax.Array):  # data are not read on the host
            return
        if counts.shape != probs.shape[:-1]:
            return
        outside &= np.expand_dims(counts != 0, -1)
    if outside.any():
        known = probs[np.isfinite(probs)]
        raise ValueError(
            "probs must be probabilities between 0 and 1, got numbers from "
            f"{known.min(initial=np.inf):g} to {known.max(initial=-np.inf):g}. If they "
            "are logits, use jax.nn.softmax(logits)."
        )
