"""One stochastic pass of an NNX model, for :mod:`jaxdrop.mc`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._checks import require_key
from jaxdrop._paths import path_hash
from jaxdrop._typing import Key


def mc_apply(key: Key, model: nnx.Module, /, *args: Any, **kwargs: Any) -> Any:
    """Runs a model in evaluation mode, with its stochastic modules switched on.

    Switched on is every module with an attribute ``deterministic``: those of jaxdrop,
    ``flax.nnx.Dropout``, and the dropout inside ``flax.nnx.MultiHeadAttention``.
    Normalisation stays in evaluation. ``model`` itself is not touched: a copy runs, so
    this may be called in any thread and under any transformation of JAX.

    Each stream of keys in the model restarts from ``key`` and its own path; a module
    without one is given one. The result is a function of the arguments alone.

    Args:
      key: the key of this pass.
      model: an NNX module.
      *args: what the model is called with.
      **kwargs: likewise.

    Returns:
      What the model returns.

    Raises:
      ValueError: if the pass changed a statistic of the model, or ``key`` is missing.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), jaxdrop.nnx.Dropout(0.5))
      >>> keys = jax.random.split(jax.random.key(0), 10)
      >>> run = jax.vmap(jaxdrop.nnx.mc_apply, in_axes=(0, None, None))
      >>> run(keys, model, jnp.ones((2, 4))).shape
      (10, 2, 8)
    """
    key = require_key(key, caller="mc_apply", instead="")
    twin = nnx.merge(*nnx.split(model), copy=True)
    twin.eval()  # type: ignore[no-untyped-call]
    _switch_on(twin, key)
    before = _statistics(twin)
    outputs = twin(*args, **kwargs)
    after = _statistics(twin)
    changed = [path for path, value in after.items() if before.get(path) is not value]
    if changed:
        raise ValueError(
            f"mc_apply: the pass changed {', '.join(changed)} of the model; prediction "
            "must not. Is a normalisation layer told to use batch statistics?"
        )
    return outputs


def _switch_on(model: nnx.Module, key: Key) -> None:
    node: Any
    for path, node in nnx.iter_graph(model):
        site = jax.random.fold_in(key, path_hash("/".join(map(str, path))))
        if isinstance(node, nnx.RngStream):
            shape = node.key[...].shape
            node.key[...] = jax.random.split(site, shape) if shape else site
            node.count[...] = jnp.zeros_like(node.count[...])
        elif isinstance(node, nnx.Module) and hasattr(node, "deterministic"):
            node.deterministic = False
            if getattr(node, "rngs", node) is None:
                tag = getattr(node, "rng_collection", "dropout")
                node.rngs = nnx.RngStream(site, tag=tag)  # type: ignore[attr-defined]


def _statistics(model: nnx.Module) -> dict[str, Any]:
    """The arrays of a model by path, without its keys and what it sows."""
    passing = (nnx.RngState, nnx.Intermediate)
    state = nnx.state(model, nnx.Not(nnx.Any(*passing)))
    return {
        "/".join(map(str, path)): variable.get_raw_value()
        for path, variable in nnx.to_flat_state(state)
    }
