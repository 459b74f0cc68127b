"""Temperature scaling: calibrating a classifier by one number."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxdrop._errors import named
from jaxdrop._loops import as_carry
from jaxdrop._norms import power_of_two
from jaxdrop._typing import Array
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import (
    as_classified,
    at_label,
    poison,
    weighted_mean,
)

_LIMIT = 60.0  # of |log(temperature / largest logit)|: 1e-26 to 1e26
_STEPS = 40  # halvings of that interval: beyond float32


@named
@compiled()
def temperature_scaling(
    logits: ArrayLike, labels: ArrayLike, /, *, weights: ArrayLike | None = None
) -> Array:
    """Finds the temperature that maximizes the likelihood of held-out labels.

    Divide logits by it: ``logits / temperature``. The most probable class does not
    change, and neither does accuracy. Fit it on examples that the model was not
    trained on.

    The likelihood has one optimum, where the expected logit is the mean logit of the
    right class; it is found by bisection, without step sizes, on the scale of the
    logits: the temperature of ``1e4 * logits`` is ``1e4`` times as high.

    Args:
      logits: ``(*batch, classes)``: logits or log-probabilities. Of a Monte-Carlo
        prediction pass ``stats["log_mean"]``, the logarithm of the mean probabilities;
        then ``softmax(log_mean / temperature)`` is the calibrated prediction. For one
        logit see :func:`binary_logits`.
      labels: the true classes ``(*batch)``, integers.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar, above 1 for an overconfident model; 1 if all temperatures are equally
      good. Without an optimum it is 0, if no label is less probable than another class,
      so that lower is always better; or infinity, if a uniform prediction is better
      than any other. Check for both before dividing.

    Raises:
      ValueError: if shapes do not fit, or there is one class.
      TypeError: if labels are not integers.

    References:
      Guo, Pleiss, Sun, Weinberger, `On calibration of modern neural networks
      <https://arxiv.org/abs/1706.04599>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import temperature_scaling
      >>> logits = jnp.array([[9.0, 0.0]] * 4)  # says 99.99 %, is right 3 in 4 times
      >>> temperature = temperature_scaling(logits, jnp.array([0, 0, 0, 1]))
      >>> f"{temperature:.3f}"  # 9 / log(3)
      '8.192'
    """
    table, labels, counts = as_classified(logits, labels, weights, name="logits")
    table = table - table.max(-1, keepdims=True)
    seen = jnp.where(jnp.isfinite(table) & (counts > 0)[:, None], -table, 0)
    unit = power_of_two(seen.max(initial=0))
    table = table / unit
    right = at_label(table, labels)

    def slope(inverse: Array) -> Array:
        probs = jax.nn.softmax(inverse * table, axis=-1)
        expected = jnp.where(probs > 0, probs * table, 0).sum(-1)
        return weighted_mean(expected - right, counts)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = slope(jnp.exp(-middle)) <= 0  # lower is always better
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    limit = jnp.asarray(_LIMIT, table.dtype)
    ends = as_carry(lambda ends: halve(0, ends), (-limit, limit))
    low, high = lax.fori_loop(0, _STEPS, halve, ends)
    found = unit * jnp.exp((low + high) / 2)
    found = jnp.where(low == -limit, 0, jnp.where(high == limit, jnp.inf, found))
    unmoved = ((table == 0) | (table == -jnp.inf)).all(-1)  # by any temperature
    found = jnp.where((unmoved | (counts == 0)).all(), 1, found)
    return poison(found, ~jnp.isnan(slope(jnp.ones_like(limit))))
