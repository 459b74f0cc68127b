"""Multi-sample dropout: one head, several masks (Inoue, 2019)."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxdrop._checks import as_count, check_callable, require_key
from jaxdrop._errors import named
from jaxdrop._typing import Key

_T = TypeVar("_T")


@named
def multi_sample(key: Key, fn: Callable[[Key], _T], /, *, num_samples: int) -> _T:
    """Runs a head under several keys, so that a costly trunk is trained on many masks.

    The outputs are stacked along a new first axis: compute the loss of each and average
    the losses, as the paper does. The loss of the averaged logits has another gradient.

    Usage:
      On the head of a classifier, where ``fn`` is its dropout and all layers after it;
      usually with 4 to 8 samples.

    Args:
      key: a PRNG key. Sample ``t`` runs under ``jax.random.fold_in(key, t)``, for any
        number of samples.
      fn: a function of a key; it runs vectorized, by ``jax.vmap``.
      num_samples: the number of masks. Static.

    Returns:
      The outputs of ``fn``, each with a new first axis of length ``num_samples``.

    Raises:
      ValueError: if ``num_samples`` is below 1, or a key is missing.
      TypeError: if ``num_samples`` is not an integer.

    References:
      Inoue, `Multi-sample dropout for accelerated training and better generalization
      <https://arxiv.org/abs/1905.09788>`_, 2019.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> features, kernel = jnp.ones((4, 16)), jnp.ones((16, 3))
      >>> head = lambda key: jaxdrop.dropout(key, features, rate=0.5) @ kernel
      >>> logits = jaxdrop.multi_sample(jax.random.key(0), head, num_samples=8)
      >>> logits.shape
      (8, 4, 3)
    """
    check_callable(fn, name="fn")
    key = require_key(key)
    count = as_count(num_samples, name="num_samples")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))
    return jax.vmap(fn)(keys)
