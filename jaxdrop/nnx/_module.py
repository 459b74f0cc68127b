"""The bases of NNX modules: a mode, a stream of keys, and mostly a rate."""

import inspect
from typing import Any, Self, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop._checks import check_flag, is_one, is_zero
from jaxdrop._errors import named_method, named_methods
from jaxdrop._names import check_keywords
from jaxdrop._typing import Array, Flag, Key
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._rate import Rate as Rate
from jaxdrop.nnx._rate import hold_rate, rate_of
from jaxdrop.nnx._rate import value_of as value_of
from jaxdrop.nnx._signatures import expand_options

KeySource = nnx.Rngs | nnx.RngStream | jax.Array
"""Where a call takes its key from: ``nnx.Rngs``, one of its streams, or a key."""


class Mode(TypedDict, total=False):
    """The keywords that every module hands on to :class:`StochasticModule`."""

    deterministic: bool | None
    rng_collection: str
    rngs: nnx.Rngs | nnx.RngStream | None


@named_methods
class StochasticModule(nnx.Module):
    """A module with a mode and a stream of keys.

    Follows ``model.train()``, ``model.eval()`` and ``nnx.view(deterministic=...)``. It
    holds no array unless it was given ``rngs``: then a stream of its own, forked from
    them as Flax's modules do.

    The stream is state of the model: each draw advances it. ``nnx.jit`` and the other
    transformations of NNX return this change to the model. A plain ``jax.jit`` loses
    it, and every call draws the same masks, unless the state of the model is returned,
    or a key is an argument: ``model(x, rngs=key)``.

    A subclass takes its mode from ``self._mode(deterministic)`` and its keys from
    ``self._draw_key(rngs)``; both take what the call was given, or None.

    Args:
      deterministic: start in evaluation mode; ``None`` if each call passes it.
      rng_collection: which stream of ``rngs`` to take keys from.
      rngs: where keys come from, unless given at call time.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> class Noise(jaxdrop.nnx.StochasticModule):
      ...     def __call__(self, x):
      ...         if self._mode(None):
      ...             return x
      ...         return x + jax.random.normal(self._draw_key(), x.shape)
      >>> noise, x = Noise(rngs=nnx.Rngs(0)), jnp.zeros((4, 8))
      >>> bool((noise(x) != x).all())
      True
      >>> nnx.view(noise, deterministic=True)(x) is x
      True
    """

    _draws_at_one = False
    """Whether a key is needed at rate 1, where most techniques drop everything."""

    @named_method
    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if kwargs:
            known = inspect.signature(cls).parameters
            check_keywords(kwargs, known)
            is_open = any(p.kind is p.VAR_KEYWORD for p in known.values())
            unknown = [] if is_open else sorted(kwargs.keys() - known.keys())
            if unknown:
                raise TypeError(
                    f"{', '.join(unknown)} cannot be given; the arguments are "
                    f"{', '.join(known)}."
                )
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        named_methods(cls)
        cls.__signature__ = expand_options(cls)  # type: ignore[attr-defined]

    def __init__(
        self,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ) -> None:
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        if rngs is None:
            self.rngs = nnx.data(None)
        elif isinstance(rngs, nnx.Rngs):
            self.rngs = rngs[rng_collection].fork()
        elif isinstance(rngs, nnx.RngStream):
            self.rngs = rngs.fork()
        else:
            raise TypeError(
                "rngs must be nnx.Rngs, a stream of one, or None, got "
                f"{type(rngs).__name__}; a key is given at call time."
            )

    def _mode(self, deterministic: Flag | None) -> bool | Array:
        """The mode of a call: its argument, or else the attribute."""
        flag = self.deterministic if deterministic is None else deterministic
        if flag is None:
            raise ValueError(
                "the mode is not known: pass deterministic= to its constructor or to "
                "the call, or use model.train(), model.eval() or nnx.view(model, "
                "deterministic=...)."
            )
        return check_flag(flag)

    def _draw_key(self, rngs: KeySource | None = None) -> Key:
        """The next key of the stream, or of the source given at call time."""
        source = self.rngs if rngs is None else rngs
        if source is None:
            raise ValueError(
                "there are no keys, which training needs: pass "
                f"rngs=nnx.Rngs({self.rng_collection}=0) to its constructor; pass "
                "rngs=, a key or nnx.Rngs, to the call; or use model.eval()."
            )
        if isinstance(source, nnx.Rngs):
            source = source[self.rng_collection]
        if isinstance(source, nnx.RngStream):
            key: Key = source()
            return key
        if isinstance(source, jax.Array):
            return source
        if isinstance(source, np.ndarray):
            return jnp.asarray(source)
        raise TypeError(
            "rngs must be nnx.Rngs, a stream of one, or a key, got "
            f"{type(source).__name__}."
        )

    def _settle(
        self,
        deterministic: Flag | None,
        rngs: KeySource | None,
        rate: RateLike | Rate,
    ) -> tuple[Key | None, RateLike, bool | Array]:
        """The key, rate and mode of a call; a key is drawn only where it is needed."""
        flag = self._mode(deterministic)
        value = rate_of(rate)
        certain = is_one(value) and not self._draws_at_one
        unused = flag is True or is_zero(value) or certain
        return None if unused else self._draw_key(rngs), value, flag

    def set_view(self, deterministic: bool | None = None) -> None:
        """Hook of ``nnx.view``.

        Args:
          deterministic: if True, nothing is drawn and the module is in evaluation mode.
        """
        if deterministic is not None:
            self.deterministic = deterministic


StochasticModule.__signature__ = expand_options(StochasticModule)  # type: ignore[attr-defined]


class RatedModule(StochasticModule):
    """A stochastic module with a rate.

    Args:
      rate: the drop probability: a number, an array, or a :class:`Rate`.
      **mode: see :class:`StochasticModule`.
    """

    def __init__(self, rate: RateLike | Rate, **mode: Unpack[Mode]) -> None:
        super().__init__(**mode)
        self.rate = hold_rate(rate)


class DropoutModule(RatedModule):
    """The base of modules that drop at a rate; a subclass defines ``_regularize``.

    Args:
      rate: the drop probability: a number, an array, or a :class:`Rate`.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> class DropRows(jaxdrop.nnx.DropoutModule):
      ...     def _regularize(self, key, x, rate, deterministic):
      ...         return jaxdrop.dropout(key, x, rate=rate, broadcast_dims=(-1,),
      ...                                deterministic=deterministic)
      >>> y = DropRows(0.5, rngs=nnx.Rngs(0))(jnp.ones((8, 4)))
      >>> bool((y == y[:, :1]).all())
      True
    """

    def __call__(
        self,
        inputs: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Regularizes ``inputs``; arguments override the attributes of their names.

        Args:
          inputs: the data; in evaluation and at rate 0 it is returned as it is,
            whatever it is.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call; may be traced.

        Returns:
          An array with the shape and dtype of ``inputs``.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self._settle(deterministic, rngs, chosen)
        return self._regularize(key, inputs, chosen, flag)

    def _regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        """Applies the technique; every subclass overrides this."""
        raise NotImplementedError
