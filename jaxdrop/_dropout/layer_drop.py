"""LayerDrop: leaving out whole layers (Fan et al., 2020)."""

from typing import Any

import jax.numpy as jnp

from jaxdrop import _masks
from jaxdrop._checks import as_count, check_rate, is_identity, require_key
from jaxdrop._errors import named
from jaxdrop._sites import site
from jaxdrop._typing import Array, Flag, Key, Rate


@named
def layer_drop(
    key: Key | None,
    num_layers: int,
    /,
    *,
    rate: Rate,
    deterministic: Flag = False,
) -> Array:
    """Draws which layers of a stack are run, so that some can be left out later.

    The flags are scanned over together with the layers; in a step, ``lax.cond`` returns
    the input of a dropped layer unchanged. That layer is not computed, forward or
    backward; but under ``jax.vmap`` over keys ``cond`` becomes a select, and all layers
    are computed. Layers that run are not rescaled.

    Usage:
      On the layers of a transformer, with one decision for the whole batch; usually at
      a rate of 0.2, or 0.5 where many layers are to be pruned. An array of rates, one
      for each layer, lets them grow with depth.

    Args:
      key: a PRNG key; may be ``None`` where nothing is drawn.
      num_layers: how many layers there are. Static.
      rate: the probability of dropping a layer: a number, or an array
        ``(num_layers,)``. A traced rate does not recompile when it changes; where it is
        outside [0, 1], the layer is kept.
      deterministic: keep all layers; may be traced.

    Returns:
      A boolean array ``(num_layers,)``, ``True`` for layers that are kept.

    Raises:
      ValueError: if ``rate`` is out of range or of another length, ``num_layers`` is
        negative, or a key is missing.
      TypeError: if ``rate`` is not a number, or ``num_layers`` is not an integer.

    References:
      Fan, Grave, Joulin, `Reducing transformer depth on demand with structured dropout
      <https://arxiv.org/abs/1909.11556>`_, ICLR 2020.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> kernels = jnp.full((12, 4, 4), 0.1)
      >>> layer = lambda h, kernel: h + jnp.tanh(h @ kernel)
      >>> @jax.jit
      ... def network(key, x):
      ...     def step(h, scanned):
      ...         kernel, kept = scanned
      ...         h = jax.lax.cond(kept, lambda h: layer(h, kernel), lambda h: h, h)
      ...         return h, None
      ...
      ...     flags = jaxdrop.layer_drop(key, 12, rate=0.2)
      ...     return jax.lax.scan(step, x, (kernels, flags))[0]
      >>> network(jax.random.key(0), jnp.ones((2, 4))).shape
      (2, 4)
    """
    check_rate(rate, scalar=False)
    num_layers = as_count(num_layers, name="num_layers", least=0)
    keep = _masks.keep_probability(rate, deterministic=deterministic)
    keep = _masks.align(keep, (num_layers,))
    if is_identity(rate, deterministic):
        return jnp.ones((num_layers,), bool)
    key = require_key(key, rate=rate)
    return _layer_drop(key, keep, num_layers=num_layers)


@site("jaxdrop.layer_drop", draws="mask", acts_on="branches", static=("num_layers",))
def _layer_drop(key: Key, keep: Any, *, num_layers: int) -> Array:
    return _masks.draw(key, (num_layers,), keep=keep)
