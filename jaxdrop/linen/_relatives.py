"""Relatives of dropout as Linen modules: other data, or no rate."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from jaxdrop import _masks
from jaxdrop._checks import as_number
from jaxdrop._dropout.embedding_dropout import embedding_dropout
from jaxdrop._dropout.masksembles import masksembles
from jaxdrop._dropout.shake_shake import shake_shake
from jaxdrop._dropout.subset_stochastic_depth import subset_stochastic_depth
from jaxdrop._dropout.token_dropout import token_dropout
from jaxdrop._errors import named_methods
from jaxdrop._typing import Array, Flag, Key, Rate
from jaxdrop.linen._module import Rated, StochasticModule


class EmbeddingDropout(Rated, StochasticModule):
    """:func:`jaxdrop.embedding_dropout` as a module.

    Attributes:
      rate: the probability of dropping a word type.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.EmbeddingDropout(0.5)
      >>> ids = jnp.array([[7, 3, 7], [2, 7, 3]])
      >>> y = drop.apply({}, jnp.ones((2, 3, 16)), ids, False, jax.random.key(0))
      >>> bool((y[ids == 7].std(axis=0) == 0).all())
      True
    """

    rate: Rate

    def __call__(
        self,
        embedded: Array,
        ids: Array,
        deterministic: Flag | None = None,
        rng: Key | None = None,
        *,
        rate: Rate | None = None,
    ) -> Array:
        """Drops word types.

        Args:
          embedded: vectors, ``(*batch, *features)``.
          ids: the integers that were looked up, ``(*batch,)``.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute; may be traced.

        Returns:
          An array with the shape and dtype of ``embedded``.
        """
        rate = self.rate if rate is None else as_number(rate)
        key, flag = self._settle(deterministic, rng, rate)
        return embedding_dropout(key, embedded, ids, rate=rate, deterministic=flag)


class TokenDropout(Rated, StochasticModule):
    """:func:`jaxdrop.token_dropout` as a module.

    Attributes:
      rate: the share of tokens to be dropped, a Python number.
      num_prefix_tokens: how many tokens at the start are always kept.
      token_axis: the axis of the tokens.
      return_indices: whether to return the indices of the tokens as well, a pair. In
        a ``Sequential`` leave it off.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> drop = jaxdrop.linen.TokenDropout(
      ...     0.5, num_prefix_tokens=1, return_indices=True
      ... )
      >>> tokens, indices = drop.apply(
      ...     {}, jnp.ones((8, 197, 32)), False, jax.random.key(0)
      ... )
      >>> tokens.shape, indices.shape
      ((8, 99, 32), (8, 99))
    """

    rate: Rate
    num_prefix_tokens: int = 0
    token_axis: int = -2
    return_indices: bool = False

    def __call__(
        self,
        inputs: Array,
        deterministic: bool | None = None,
        rng: Key | None = None,
        *,
        rate: Rate | None = None,
    ) -> Array | tuple[Array, Array]:
        """Drops tokens.

        Args:
          inputs: tokens, ``(*batch, tokens, features)``.
          deterministic: the mode, unless it is an attribute.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute, a Python number.

        Returns:
          The tokens that were kept; with ``return_indices`` and their indices.
        """
        rate = self.rate if rate is None else as_number(rate)
        key, flag = self._settle(deterministic, rng, rate)
        tokens, indices = token_dropout(
            key,
            inputs,
            rate=rate,
            num_prefix_tokens=self.num_prefix_tokens,
            token_axis=self.token_axis,
            deterministic=flag,
        )
        return (tokens, indices) if self.return_indices else tokens


class SubsetStochasticDepth(Rated, StochasticModule):
    """:func:`jaxdrop.subset_stochastic_depth` around a branch: ``x + module(x)``.

    Batch normalization in the branch sees the examples on which it runs, and no others.

    Attributes:
      branch: a module or a function that treats examples independently.
      rate: the share of examples to be dropped, a Python number.
      batch_axis: the axis of the examples.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> from flax import linen as nn
      >>> block = jaxdrop.linen.SubsetStochasticDepth(nn.Dense(4), 0.75)
      >>> x = jnp.ones((8, 4))
      >>> variables = block.init(jax.random.key(0), x, deterministic=True)
      >>> y = block.apply(variables, x, False, jax.random.key(1))
      >>> int((y != 0).any(axis=1).sum())  # the branch ran on two of eight
      2
    """

    branch: Callable[[Any], Array]
    rate: Rate
    batch_axis: int = 0

    def __call__(
        self,
        inputs: Any,
        deterministic: bool | None = None,
        rng: Key | None = None,
        *,
        rate: Rate | None = None,
    ) -> Array:
        """Runs the branch.

        Args:
          inputs: the data, an array or a tree of arrays that share the batch axis.
          deterministic: the mode, unless it is an attribute.
          rng: the key of this call; by default the next one of the collection.
          rate: the rate of this call, in place of the attribute, a Python number.

        Returns:
          The output of the branch, 0 for examples on which it was not run.
        """
        rate = self.rate if rate is None else as_number(rate)
        key, flag = self._settle(deterministic, rng, rate)
        return subset_stochastic_depth(
            key,
            self.branch,
            inputs,
            rate=rate,
            batch_axis=self.batch_axis,
            deterministic=flag,
        )


class ShakeShake(StochasticModule):
    """:func:`jaxdrop.shake_shake` as a module, in a block with two branches.

    In evaluation it is the expectation, the mean of the branches.

    Attributes:
      batch_axis: the axis of the examples, or ``None`` for one mixture for all.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxdrop
      >>> mix, a, b = jaxdrop.linen.ShakeShake(), jnp.zeros((4, 8)), jnp.ones((4, 8))
      >>> y = mix.apply({}, a, b, False, jax.random.key(0))
      >>> bool((y == y[:, :1]).all())  # one weight for each example
      True
    """

    batch_axis: int | None = 0

    def __call__(
        self,
        a: Array,
        b: Array,
        deterministic: Flag | None = None,
        rng: Key | None = None,
    ) -> Array:
        """Mixes two branches.

        Args:
          a: the output of a branch.
          b: the output of another, of the same shape.
          deterministic: the mode, unless it is an attribute; may be traced.
          rng: the key of this call; by default the next one of the collection.

        Returns:
          An array with the shape and dtype of ``a``.
        """
        flag = self._mode(deterministic)
        key = None if flag is True else self._draw_key(rng)
        return shake_shake(key, a, b, batch_axis=self.batch_axis, deterministic=flag)


@named_methods
class Masksembles(nn.Module):
    """:func:`jaxdrop.masksembles` as a module, on in evaluation as in training.

    The masks follow from the attributes and the number of features; they are
    constants, not variables.

    Attributes:
      num_masks: how many masks; it divides the batch.
      scale: 1 for masks that keep everything; the larger, the fewer features two
        masks share.
      seed: of the masks. Give each layer its own.
      axis: the axis of the features.

    Examples:
      >>> import jax.numpy as jnp, jaxdrop
      >>> y = jaxdrop.linen.Masksembles(4, 2.0).apply({}, jnp.ones((8, 16)))
      >>> bool((y[0] == y[1]).all()), bool((y[0] == y[2]).all())
      (True, False)
    """

    num_masks: int = 4
    scale: float = 2.0
    seed: int = 0
    axis: int = -1

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
