"""Relatives of dropout as NNX modules: other data, or no rate."""

from collections.abc import Callable
from typing import Any, Unpack

from flax import nnx

from jaxdrop import _masks
from jaxdrop._dropout.embedding_dropout import embedding_dropout
from jaxdrop._dropout.masksembles import masksembles
from jaxdrop._dropout.shake_shake import shake_shake
from jaxdrop._dropout.subset_stochastic_depth import subset_stochastic_depth
from jaxdrop._dropout.token_dropout import token_dropout
from jaxdrop._errors import named_methods
from jaxdrop._typing import Array, Flag
from jaxdrop._typing import Rate as RateLike
from jaxdrop.nnx._module import KeySource, Mode, RatedModule, StochasticModule
from jaxdrop.nnx._signatures import expand_options


class EmbeddingDropout(RatedModule):
    """:func:`jaxdrop.embedding_dropout` as a module.

    Args:
      rate: the probability of dropping a word type.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.EmbeddingDropout(0.5, rngs=nnx.Rngs(0))
      >>> ids = jnp.array([[7, 3, 7], [2, 7, 3]])
      >>> y = drop(jnp.ones((2, 3, 16)), ids)
      >>> bool((y[ids == 7].std(axis=0) == 0).all())
      True
    """

    def __call__(
        self,
        embedded: Array,
        ids: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Drops word types; arguments override the attributes of their names.

        Args:
          embedded: vectors, ``(*batch, *features)``.
          ids: the integers that were looked up, ``(*batch,)``.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call; may be traced.

        Returns:
          An array with the shape and dtype of ``embedded``.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self._settle(deterministic, rngs, chosen)
        return embedding_dropout(key, embedded, ids, rate=chosen, deterministic=flag)


class TokenDropout(RatedModule):
    """:func:`jaxdrop.token_dropout` as a module.

    Args:
      rate: the share of tokens to be dropped, a Python number.
      num_prefix_tokens: how many tokens at the start are always kept.
      token_axis: the axis of the tokens.
      return_indices: whether to return the indices of the tokens as well, a pair. In
        a ``Sequential`` leave it off.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> drop = jaxdrop.nnx.TokenDropout(
      ...     0.5, num_prefix_tokens=1, return_indices=True, rngs=nnx.Rngs(0)
      ... )
      >>> tokens, indices = drop(jnp.ones((8, 197, 32)))
      >>> tokens.shape, indices.shape
      ((8, 99, 32), (8, 99))
    """

    def __init__(
        self,
        rate: RateLike,
        *,
        num_prefix_tokens: int = 0,
        token_axis: int = -2,
        return_indices: bool = False,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.num_prefix_tokens = num_prefix_tokens
        self.token_axis = token_axis
        self.return_indices = return_indices

    def __call__(
        self,
        inputs: Array,
        *,
        deterministic: bool | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array | tuple[Array, Array]:
        """Drops tokens; arguments override the attributes of their names.

        Args:
          inputs: tokens, ``(*batch, tokens, features)``.
          deterministic: the mode of this call.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call, a Python number.

        Returns:
          The tokens that were kept; with ``return_indices`` and their indices.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self._settle(deterministic, rngs, chosen)
        tokens, indices = token_dropout(
            key,
            inputs,
            rate=chosen,
            num_prefix_tokens=self.num_prefix_tokens,
            token_axis=self.token_axis,
            deterministic=flag,
        )
        return (tokens, indices) if self.return_indices else tokens


class SubsetStochasticDepth(RatedModule):
    """:func:`jaxdrop.subset_stochastic_depth` around a branch: ``x + module(x)``.

    Batch normalization in the branch sees the examples on which it runs, and no others.

    Args:
      branch: a module or a function that treats examples independently.
      rate: the share of examples to be dropped, a Python number.
      batch_axis: the axis of the examples.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> branch = nnx.Linear(4, 4, rngs=rngs)
      >>> block = jaxdrop.nnx.SubsetStochasticDepth(branch, 0.75, rngs=rngs)
      >>> y = block(jnp.ones((8, 4)))
      >>> int((y != 0).any(axis=1).sum())  # the branch ran on two of eight
      2
    """

    def __init__(
        self,
        branch: Callable[[Any], Array],
        rate: RateLike,
        *,
        batch_axis: int = 0,
        **mode: Unpack[Mode],
    ) -> None:
        super().__init__(rate, **mode)
        self.branch = branch
        self.batch_axis = batch_axis

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: bool | None = None,
        rngs: KeySource | None = None,
        rate: RateLike | None = None,
    ) -> Array:
        """Runs the branch; arguments override the attributes of their names.

        Args:
          inputs: the data, an array or a tree of arrays that share the batch axis.
          deterministic: the mode of this call.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.
          rate: the rate of this call, a Python number.

        Returns:
          The output of the branch, 0 for examples on which it was not run.
        """
        chosen = self.rate if rate is None else rate
        key, chosen, flag = self._settle(deterministic, rngs, chosen)
        return subset_stochastic_depth(
            key,
            self.branch,
            inputs,
            rate=chosen,
            batch_axis=self.batch_axis,
            deterministic=flag,
        )


class ShakeShake(StochasticModule):
    """:func:`jaxdrop.shake_shake` as a module, in a block with two branches.

    In evaluation it is the expectation, the mean of the branches.

    Args:
      batch_axis: the axis of the examples, or ``None`` for one mixture for all.
      **mode: see :class:`StochasticModule`.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> from flax import nnx
      >>> mix = jaxdrop.nnx.ShakeShake(rngs=nnx.Rngs(0))
      >>> y = mix(jnp.zeros((4, 8)), jnp.ones((4, 8)))
      >>> bool((y == y[:, :1]).all())  # one weight for each example
      True
    """

    def __init__(self, *, batch_axis: int | None = 0, **mode: Unpack[Mode]) -> None:
        super().__init__(**mode)
        self.batch_axis = batch_axis

    def __call__(
        self,
        a: Array,
        b: Array,
        *,
        deterministic: Flag | None = None,
        rngs: KeySource | None = None,
    ) -> Array:
        """Mixes two branches.

        Args:
          a: the output of a branch.
          b: the output of another, of the same shape.
          deterministic: the mode of this call; may be traced.
          rngs: where this call takes its key: ``nnx.Rngs``, a stream, or a key.

        Returns:
          An array with the shape and dtype of ``a``.
        """
        flag = self._mode(deterministic)
        key = None if flag is True else self._draw_key(rngs)
        return shake_shake(key, a, b, batch_axis=self.batch_axis, deterministic=flag)


@named_methods
class Masksembles(nnx.Module):
    """:func:`jaxdrop.masksembles` as a module, on in evaluation as in training.

    The masks follow from the arguments and the number of features; the module holds no
    array.

    Args:
      num_masks: how many masks; it divides the batch.
      scale: 1 for masks that keep everything; the larger, the fewer features two
        masks share.
      seed: of the masks. Give each layer its own.
      axis: the axis of the features.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> layer = jaxdrop.nnx.Masksembles(4, 2.0)
      >>> y = layer(jnp.ones((8, 16)))
      >>> bool((y[0] == y[1]).all()), bool((y[0] == y[2]).all())
      (True, False)
    """

    def __init__(
        self,
        num_masks: int = 4,
        scale: float = 2.0,
        *,
        seed: int = 0,
        axis: int = -1,
    ) -> None:
        self.num_masks = num_masks
        self.scale = scale
        self.seed = seed
        self.axis = axis

    def __call__(self, inputs: Array) -> Array:
        """Masks each part of the batch.

        Args:
          inputs: activations, ``(batch, …)``.

        Returns:
          An array with the shape and dtype of ``inputs``.
        """
        features = inputs.shape[self.axis]
        table = _masks.masksembles(self.seed, features, self.num_masks, self.scale)
        return masksembles(inputs, table, axis=self.axis)


Masksembles.__signature__ = expand_options(Masksembles)  # type: ignore[attr-defined]
