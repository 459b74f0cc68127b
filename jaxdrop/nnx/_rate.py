"""A rate that modules share, and the current values of arguments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop._checks import as_number, check_rate
from jaxdrop._errors import named_methods
from jaxdrop._typing import Array, ArrayLike
from jaxdrop._typing import Rate as RateLike


@named_methods
class Rate(nnx.Variable[Any]):
    """A rate that many modules share, changed in one place without recompiling.

    Give it as ``rate=`` to any module. It is not an ``nnx.Param``: optimizers that
    select parameters do not see it. It is set by ``rate[...] = number``, or in any
    other way of NNX, such as ``nnx.update``; a number outside [0, 1] is refused, and an
    array outside of it, which is not read, gives NaN.

    Args:
      value: the rate to start from, a number or an array.
      **metadata: see ``nnx.Variable``.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rate = jaxdrop.nnx.Rate(0.5)
      >>> first, second = (jaxdrop.nnx.Dropout(rate, rngs=nnx.Rngs(i)) for i in (0, 1))
      >>> rate[...] = jnp.float32(0.0)  # for example schedule(step)
      >>> x = jnp.ones((4, 4))
      >>> bool((first(x) == x).all()), bool((second(x) == x).all())
      (True, True)
    """

    def __init__(self, value: RateLike, **metadata: Any) -> None:
        super().__init__(_as_rate(value, name="rate"), **metadata)

    def set_value(self, value: Any, **index: Any) -> None:
        """Sets the rate, as a float32 array.

        Args:
          value: a number in [0, 1], or an array.
          **index: which part of an array to set, see ``nnx.Variable``.
        """
        super().set_value(_as_rate(value, name="rate"), **index)

    def update_from_state(self, variable_state: nnx.Variable[Any]) -> None:
        """Takes the value of another variable, as ``nnx.update`` does.

        Args:
          variable_state: the other variable.
        """
        super().update_from_state(variable_state)
        value = self.get_raw_value()
        if _is_number(value):
            self.set_raw_value(_as_rate(value, name="rate"))


def value_of(number: ArrayLike | nnx.Variable[Any], /) -> Any:
    """The number that a knob is at the moment; of a variable, an array.

    A variable may hold a Python number: ``nnx.update`` and restored checkpoints put one
    there.
    """
    if not isinstance(number, nnx.Variable):
        return as_number(number)
    value = number.get_value()
    return jnp.asarray(value, jnp.float32) if _is_number(value) else value[...]


def rate_of(rate: RateLike | nnx.Variable[Any], /, *, name: str = "rate") -> Any:
    """:func:`value_of` a rate, which is checked if it is a number in a variable."""
    if isinstance(rate, nnx.Variable):
        value = rate.get_value()
        if not isinstance(value, jax.Array):
            return _as_rate(value, name=name)
    return value_of(rate)


def hold_rate(rate: Any, /, *, name: str = "rate") -> Any:
    """Returns a rate for a module to hold, or raises if it is not one.

    Args:
      rate: a number, an array, or a variable that holds one of them.
      name: that of the argument.
    """
    if isinstance(rate, nnx.Rngs | nnx.RngStream):
        raise TypeError(
            f"{name} must be a number, got {type(rate).__name__}; rngs is a keyword, "
            f"as in {name}=0.5, rngs=nnx.Rngs(0)."
        )
    if isinstance(rate, nnx.Variable):
        rate_of(rate, name=name)
        return rate
    rate = as_number(rate)
    check_rate(rate, scalar=False, name=name)
    return rate


def _as_rate(value: Any, *, name: str) -> Array | jax.ShapeDtypeStruct:
    if isinstance(value, jax.ShapeDtypeStruct):  # of nnx.eval_shape
        return value
    value = as_number(value)
    check_rate(value, scalar=False, name=name)
    return jnp.asarray(value, jnp.float32)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.ndarray | np.generic)
