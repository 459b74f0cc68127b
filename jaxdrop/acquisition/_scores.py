"""Scores of single points."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxdrop._errors import named
from jaxdrop._typing import Array, ArrayLike
from jaxdrop.acquisition._samples import as_log_probs, divergence
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._entropy import entropy, log_mean_exp
from jaxdrop.metrics._examples import poison


@named
@compiled()
def bald(logits: ArrayLike, /) -> Array:
    """The mutual information of the label of a point and the weights of the model.

    High where each sample is confident and the samples disagree; low for ambiguous
    points, where all samples are uncertain.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities.

    Returns:
      The scores ``(points,)`` in nats, never negative; below about 1e-6 they are
      rounding errors of float32.

    References:
      Houlsby, Huszár, Ghahramani, Lengyel, `Bayesian active learning for classification
      and preference learning <https://arxiv.org/abs/1112.5745>`_, 2011. Gal, Islam,
      Ghahramani, `Deep Bayesian active learning with image data
      <https://arxiv.org/abs/1703.02910>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import bald
      >>> disagreement = jnp.array([[9.0, -9.0], [-9.0, 9.0]])
      >>> doubt = jnp.zeros((2, 2))
      >>> scores = bald(jnp.stack([disagreement, doubt], axis=1))
      >>> bool(scores[0] > 0.69), bool(abs(scores[1]) < 1e-6)
      (True, True)
    """
    probs = jnp.exp(as_log_probs(logits))
    mean = probs.mean(0, keepdims=True)
    return divergence(probs - mean, mean).mean(0)


@named
@compiled()
def max_entropy(logits: ArrayLike, /) -> Array:
    """The entropy of the mean prediction: total uncertainty, aleatoric and epistemic.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities.

    Returns:
      The scores ``(points,)`` in nats.

    References:
      Shannon, `A mathematical theory of communication
      <https://doi.org/10.1002/j.1538-7305.1948.tb01338.x>`_, 1948.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import max_entropy
      >>> bool(jnp.allclose(max_entropy(jnp.zeros((5, 3, 4))), jnp.log(4.0)))
      True
    """
    return entropy(log_mean_exp(as_log_probs(logits)))


@named
@compiled()
def variation_ratio(logits: ArrayLike, /) -> Array:
    """The share of samples that do not vote for the class with the most votes.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities.

    Returns:
      The scores ``(points,)``, at least 0 and below 1.

    References:
      Freeman, `Elementary applied statistics`, 1965. Gal, Islam, Ghahramani, `Deep
      Bayesian active learning with image data <https://arxiv.org/abs/1703.02910>`_,
      ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import variation_ratio
      >>> votes = jnp.eye(2)[jnp.array([[0], [0], [0], [1]])]
      >>> variation_ratio(votes).tolist()
      [0.25]
    """
    log_probs = as_log_probs(logits)
    number = log_probs.shape[-1]
    cast: Array = jax.nn.one_hot(log_probs.argmax(-1), number, dtype=log_probs.dtype)
    return poison(1 - cast.mean(0).max(-1), ~jnp.isnan(log_probs).any((0, -1)))


@named
@compiled()
def margin(logits: ArrayLike, /) -> Array:
    """One minus the difference of the two largest mean probabilities.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities, of at least
        two classes.

    Returns:
      The scores ``(points,)``: 1 where two classes tie, 0 where one is certain.

    Raises:
      ValueError: if there is only one class.

    References:
      Scheffer, Decomain, Wrobel, `Active hidden Markov models for information
      extraction <https://doi.org/10.1007/3-540-44816-0_31>`_, 2001.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import margin
      >>> f"{margin(jnp.log(jnp.array([[[0.5, 0.3, 0.2]]])))[0]:.2f}"
      '0.80'
    """
    probs = jnp.exp(log_mean_exp(as_log_probs(logits)))
    best, _ = lax.top_k(probs, 2)
    return 1 - (best[..., 0] - best[..., 1])
