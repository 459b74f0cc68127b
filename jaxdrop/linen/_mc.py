"""One stochastic pass of a Linen model, for :mod:`jaxdrop.mc`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn

from jaxdrop._checks import require_key
from jaxdrop._errors import named_with_results
from jaxdrop._typing import Key
from jaxdrop.linen._module import switched_on


@named_with_results
def mc_apply(
    module: nn.Module, /, *, streams: Sequence[str] = ("dropout",), **kwargs: Any
) -> Callable[..., Any]:
    """Makes a function that runs a module with its stochastic submodules switched on.

    The module is called as for evaluation, say with ``train=False`` in ``kwargs``; the
    modules of jaxdrop, ``flax.linen.Dropout`` and Flax's attention modules ignore that
    and drop, and everything else follows it: normalization uses its running averages.

    Args:
      module: a Linen module.
      streams: the collections that keys are drawn from.
      **kwargs: keyword arguments of every call, such as ``train=False``.

    Returns:
      ``apply(key, variables, *args)``, which returns the output of the module. It
      raises if the module changes a variable, such as a running average.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> drop = jaxdrop.linen.Dropout(0.5, deterministic=True)
      >>> module = nn.Sequential([nn.Dense(8), drop])
      >>> x = jnp.ones((2, 4))
      >>> variables = module.init(jax.random.key(0), x)
      >>> apply = jaxdrop.linen.mc_apply(module)
      >>> keys = jax.random.split(jax.random.key(1), 10)
      >>> jax.vmap(apply, in_axes=(0, None, None))(keys, variables, x).shape
      (10, 2, 8)
    """

    def apply(key: Key, variables: Mapping[str, Any], /, *args: Any) -> Any:
        key = require_key(key, instead="")
        rngs = {stream: key for stream in streams}
        with switched_on(True), nn.intercept_methods(_switch_on):
            return module.apply(variables, *args, rngs=rngs, **kwargs)

    return apply


def _switch_on(
    call: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    """Gives Flax's own modules ``deterministic=False`` whatever their mode."""
    module: Any = context.module
    stochastic = isinstance(module, nn.Dropout | nn.MultiHeadDotProductAttention)
    if context.method_name != "__call__" or not stochastic:
        return call(*args, **kwargs)
    given = inspect.signature(call).bind_partial(*args, **kwargs)
    given.arguments["deterministic"] = False
    own = module.deterministic
    object.__setattr__(module, "deterministic", None)  # given twice it is an error
    try:
        return call(*given.args, **given.kwargs)
    finally:
        object.__setattr__(module, "deterministic", own)
