"""The bases of Linen modules: a mode, a collection of keys, and mostly a rate."""

import dataclasses
from typing import Any, Self

import jax
import numpy as np
from flax import linen as nn

from jaxdrop._checks import (
    as_axes,
    as_number,
    as_static,
    check_flag,
    check_rate,
    is_one,
    is_zero,
)
from jaxdrop._errors import named_method, named_methods
from jaxdrop._names import check_keywords
from jaxdrop._typing import Array, Flag, Key, Rate

switched_on: Any = jax.make_user_context(False)
"""Within ``switched_on(True)`` our modules are in training, whatever their mode.

JAX's caches depend on the context, so that functions traced without it are traced anew.
"""


def tidy(module: Any, /) -> None:
    """Makes the fields of a module hashable, and its scalars Python numbers."""
    for field in dataclasses.fields(module):
        value: Any = getattr(module, field.name, None)
        simple = as_number(value)
        if field.name == "broadcast_dims":
            simple = as_axes(value)
        elif isinstance(value, list) or (
            isinstance(value, np.ndarray) and not field.name.endswith("rate")
        ):
            simple = as_static(value)
        if simple is not value:
            object.__setattr__(module, field.name, simple)


_HOOKS = ("_mode", "_draw_key", "_regularize")
"""Methods for those who write modules."""


class Stochastic(nn.Module):
    """The behaviour of a module with fields ``deterministic`` and ``rng_collection``.

    The fields are declared by the classes that inherit this, since their order is part
    of a Linen module's signature. Flax does not see hooks, so that interceptors,
    intermediates and tables show the calls that they show of Flax's own modules.
    """

    _draws_at_one = False
    """Whether a key is needed at rate 1, where most techniques drop everything."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name in vars(cls).keys() & set(_HOOKS):
            nn.nowrap(vars(cls)[name])
        named_methods(cls)  # first, so that Flax's own wrappers are the outer ones
        super().__init_subclass__(**kwargs)

    @named_method
    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = cls.__dataclass_fields__
        check_keywords(kwargs, known)
        return super().__new__(cls)

    @named_method
    def __post_init__(self) -> None:
        """Makes lists tuples, so that modules can be hashed."""
        tidy(self)
        super().__post_init__()

    @nn.nowrap
    def _mode(self, deterministic: Flag | None) -> bool | Array:
        """The mode, given as an attribute or at call time, but not both."""
        if switched_on.value:
            return False
        flag = nn.merge_param("deterministic", self.deterministic, deterministic)
        return check_flag(flag)

    @nn.nowrap
    def _draw_key(self, rng: Key | None) -> Key:
        """The key given at call time, or else the next one of the collection."""
        if rng is not None:
            return rng
        key: Key = self.make_rng(self.rng_collection)
        return key

    @nn.nowrap
    def _settle(
        self, deterministic: Flag | None, rng: Key | None, rate: Rate
    ) -> tuple[Key | None, bool | Array]:
        """The key and mode of a call; a key is drawn only where it is needed."""
        flag = self._mode(deterministic)
        certain = is_one(rate) and not self._draws_at_one
        unused = flag is True or is_zero(rate) or certain
        return None if unused else self._draw_key(rng), flag


class Rated(Stochastic):
    """The behaviour of a module with a field ``rate``."""

    def __post_init__(self) -> None:
        tidy(self)
        check_rate(self.rate, scalar=False)
        super().__post_init__()


class Dropping(Rated):
    """The behaviour of a module that drops at a ``rate``."""

    def __call__(
        self,
        inputs: Array,
        deterministic: Flag | None = None,
        rng: Key | None = None,
        *,
        rate: Rate | None = None,
    ) -> Array:
        """Regularizes ``inputs``.

        Args:
          inputs: the data; in evaluation and at rate 0 it is returned as it is,
            whatever it is.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute; may be traced.

        Returns:
          An array with the shape and dtype of ``inputs``.
        """
        chosen: Any = self.rate if rate is None else as_number(rate)
        key, flag = self._settle(deterministic, rng, chosen)
        return self._regularize(key, inputs, chosen, flag)

    @nn.nowrap
    def _regularize(
        self, key: Key | None, x: Array, rate: Rate, deterministic: bool | Array
    ) -> Array:
        """Applies the technique; every subclass overrides this."""
        raise NotImplementedError


class StochasticModule(Stochastic, kw_only=True):
    """A module with a mode and a collection of keys.

    Attributes:
      deterministic: the mode; to be given here or at call time, not both.
      rng_collection: where keys come from, as in ``rngs={"dropout": key}``.

    A subclass takes its mode from ``self._mode(deterministic)`` and its keys from
    ``self._draw_key(rng)``; both take what the call was given, or None.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> class Noise(jaxdrop.linen.StochasticModule):
      ...     def __call__(self, x, deterministic=None):
      ...         if self._mode(deterministic):
      ...             return x
      ...         return x + jax.random.normal(self._draw_key(None), x.shape)
      >>> noise, x = Noise(), jnp.zeros((4, 8))
      >>> y = noise.apply({}, x, False, rngs={"dropout": jax.random.key(0)})
      >>> bool((y != x).all()), noise.apply({}, x, True) is x
      (True, True)
    """

    deterministic: bool | None = None
    rng_collection: str = "dropout"


class DropoutModule(Dropping, StochasticModule):
    """The base of modules that drop at a rate; a subclass defines ``_regularize``.

    Attributes:
      rate: the drop probability.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> class DropRows(jaxdrop.linen.DropoutModule):
      ...     def _regularize(self, key, x, rate, deterministic):
      ...         return jaxdrop.dropout(key, x, rate=rate, broadcast_dims=(-1,),
      ...                                deterministic=deterministic)
      >>> drop, x = DropRows(0.5, deterministic=False), jnp.ones((8, 4))
      >>> y = drop.apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> bool((y == y[:, :1]).all())
      True
    """

    rate: Rate
