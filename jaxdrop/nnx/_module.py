"""What NNX modules share: a mode, a stream of keys, and mostly a rate."""

from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxdrop._checks import check_flag, check_rate, is_zero
from jaxdrop._typing import Array, Flag, Key
from jaxdrop._typing import Rate as RateLike

KeySource = nnx.Rngs | nnx.RngStream | jax.Array
"""Where a call takes its key from: ``nnx.Rngs``, one of its streams, or a key."""


class Mode(TypedDict, total=False):
    """The keywords that every module hands on to :class:`StochasticModule`."""

    deterministic: bool | None
    rng_collection: str
    rngs: nnx.Rngs | nnx.RngStream | None


class Rate(nnx.Variable[Any]):
    """A rate that many modules share, changed in one place without recompiling.

    Give it as ``rate=`` to any module. It is no ``nnx.Param``: optimizers that select
    parameters do not see it.

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
        check_rate(value, caller="Rate", scalar=False)
        super().__init__(jnp.asarray(value, jnp.float32), **metadata)


def value_of(number: ArrayLike | nnx.Variable[Any], /) -> Any:
    """The number or array that a rate, or another knob, is at the moment."""
    return number[...] if isinstance(number, nnx.Variable) else number


class StochasticModule(nnx.Module):
    """A module with a mode and a stream of keys.

    Follows ``model.train()``, ``model.eval()`` and ``nnx.view(deterministic=...)``. It
    holds no array unless it was given ``rngs``: then a stream of its own, forked from
    them as Flax's modules do.

    Args:
      deterministic: start in evaluation mode; ``None`` where each call says.
      rng_collection: which stream of ``rngs`` to take keys from.
      rngs: where keys come from, unless given at call time.
    """

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
                f"{type(self).__name__}: rngs must be nnx.Rngs, a stream of one, or "
                f"None, got {type(rngs).__name__}; a key is given at call time."
            )

    def mode(self, deterministic: Flag | None) -> bool | Array:
        """The mode of a call: its argument, or else the attribute."""
        flag = self.deterministic if deterministic is None else deterministic
        if flag is None:
            raise ValueError(
                f"{type(self).__name__} does not know its mode: pass deterministic= to "
                "its constructor or to the call, or use model.train(), model.eval() or "
                "nnx.view(model, deterministic=...)."
            )
        return check_flag(flag, caller=type(self).__name__)

    def draw_key(self, rngs: KeySource | None = None) -> Key:
        """The next key of the stream, or of what was given at call time."""
        source = self.rngs if rngs is None else rngs
        if source is None:
            raise ValueError(
                f"{type(self).__name__} is in training mode and has no keys: pass "
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
            f"{type(self).__name__}: rngs must be nnx.Rngs, a stream of one, or a key, "
            f"got {type(source).__name__}."
        )

    def settle(
        self,
        deterministic: Flag | None,
        rngs: KeySource | None,
        rate: RateLike | Rate,
    ) -> tuple[Key | None, RateLike, bool | Array]:
        """The key, rate and mode of a call; no key is drawn that nobody needs."""
        flag = self.mode(deterministic)
        value = value_of(rate)
        unused = flag is True or is_zero(value)
        return None if unused else self.draw_key(rngs), value, flag

    def set_view(self, deterministic: bool | None = None) -> None:
        """Hook of ``nnx.view``.

        Args:
          deterministic: if True, nothing is drawn and the module is in evaluation mode.
        """
        if deterministic is not None:
            self.deterministic = deterministic


class RatedModule(StochasticModule):
    """A stochastic module with a rate.

    Args:
      rate: the drop probability: a number, an array, or a :class:`Rate`.
      **mode: see :class:`StochasticModule`.
    """

    def __init__(self, rate: RateLike | Rate, **mode: Unpack[Mode]) -> None:
        if not isinstance(rate, nnx.Variable):
            check_rate(rate, caller=type(self).__name__, scalar=False)
        super().__init__(**mode)
        self.rate = rate


class DropoutModule(RatedModule):
    """Calls ``regularize(key, x, rate, deterministic)``, the function of its name.

    Args:
      rate: the drop probability: a number, an array, or a :class:`Rate`.
      **mode: see :class:`StochasticModule`.
    """

    def __call__(
        self,
        x: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Regularizes ``x``; what is given here overrides the attribute of its name.

        Args:
          x: the data.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call; may be traced.

        Returns:
          An array with the shape and dtype of ``x``.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self.settle(deterministic, rngs, chosen)
        return self.regularize(key, x, chosen, flag)

    def regularize(
        self, key: Key | None, x: Array, rate: RateLike, deterministic: bool | Array
    ) -> Array:
        """The one line that a subclass adds: a call of its function in ``jaxdrop``."""
        raise NotImplementedError
