"""BatchBALD: points that are jointly informative about the model."""

from numbers import Integral
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision
from jax.typing import ArrayLike

from jaxdrop._checks import as_count, require_key
from jaxdrop._errors import named
from jaxdrop._loops import as_carry
from jaxdrop._numbers import as_numbers
from jaxdrop._typing import Array, Key
from jaxdrop.acquisition._samples import as_log_probs, entropy_of_probs, over_points
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._entropy import entropy, log_mean_exp
from jaxdrop.metrics._examples import poison


class Selection(NamedTuple):
    """Points in the order in which they were chosen.

    Attributes:
      indices: ``(num_points,)``: the indices of the points in the pool.
      gains: ``(num_points,)``: the information that each adds to the points before it,
        in nats; their sum is the joint mutual information of the labels and the model.
        Below about 1e-6 nats they are rounding errors of float32.
    """

    indices: Array
    gains: Array


@named
def batch_bald(
    key: Key | None,
    logits: ArrayLike,
    /,
    *,
    num_points: int,
    num_configurations: int = 1024,
    labelled: ArrayLike | None = None,
) -> Selection:
    """Chooses the points whose labels are jointly most informative about the model.

    Points with the highest individual scores are often near-duplicates. Here points are
    chosen one after the other, each for the information that it adds to those before:
    ``I(y; w | y_1, ..., y_n)``, averaged over the labels of those. As long as there are
    few enough, all their joint labels are enumerated; after that, joint labels are
    drawn from the model. They are weighted in log space, so that the probabilities of
    hundreds of labels do not underflow.

    Args:
      key: a PRNG key for drawing labels; may be ``None`` if all of them are enumerated,
        ``classes ** (num_points - 1) <= num_configurations``.
      logits: ``(samples, points, classes)``: logits or log-probabilities from *shared*
        draws: each sample is one function, evaluated at all points.
      num_points: the number of points to choose. Static.
      num_configurations: the largest number of joint labels of the chosen points.
        Memory is proportional to it times the number of samples. Static.
      labelled: ``(points,)``, bools: true for points that are labelled already and must
        not be chosen; None if there are no such points.

    Returns:
      The indices in the order in which they were chosen, and the gain of each. If a JAX
      array ``labelled`` leaves too few points, indices are -1 and gains NaN.

    Raises:
      ValueError: if there are fewer points than ``num_points``, a count is not
        positive, shapes do not fit, or a key is missing.
      TypeError: if a count is not an integer, or ``labelled`` does not hold bools.

    References:
      Kirsch, van Amersfoort, Gal, `BatchBALD: efficient and diverse batch acquisition
      for deep Bayesian active learning <https://arxiv.org/abs/1906.08158>`_, NeurIPS
      2019.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop.acquisition import batch_bald
      >>> logits = 3 * jax.random.normal(jax.random.key(0), (50, 2, 3))
      >>> copies = jnp.repeat(logits, 2, axis=1)  # 0 and 1 are equal, 2 and 3 too
      >>> chosen = batch_bald(None, copies, num_points=2)
      >>> bool(chosen.indices[0] // 2 != chosen.indices[1] // 2)
      True
    """
    if key is not None:
        key = require_key(key)
    if labelled is not None:
        labelled = as_numbers(labelled, "labelled")
    if isinstance(labelled, np.ndarray):
        free = labelled.size - np.count_nonzero(labelled)
        counted = labelled.dtype == bool and isinstance(num_points, Integral)
        if counted and free < num_points:
            raise ValueError(
                "num_points must be at most the number of points that are not "
                f"labelled, {free}, got {num_points}."
            )
    return _batch_bald(
        key,
        logits,
        num_points=num_points,
        num_configurations=num_configurations,
        labelled=labelled,
    )


@compiled("num_points", "num_configurations")
def _batch_bald(
    key: Key | None,
    logits: ArrayLike,
    *,
    num_points: int,
    num_configurations: int,
    labelled: ArrayLike | None,
) -> Selection:
    log_probs = as_log_probs(logits)
    _, pool, classes = log_probs.shape
    for name, count in (
        ("num_points", num_points),
        ("num_configurations", num_configurations),
    ):
        as_count(count, name=name)
    if num_points > pool:
        raise ValueError(
            f"num_points must be from 1 to the number of points, {pool}, got "
            f"{num_points}."
        )
    greedy = _Greedy(log_probs, _free(labelled, pool))
    exact = 1  # the number of points before which all joint labels are enumerated
    while exact < num_points and classes**exact <= num_configurations:
        exact += 1
    greedy.choose()
    for _ in range(exact - 1):
        greedy.branch()
        greedy.choose()
    if exact == num_points:
        return greedy.selection()
    key = require_key(key, instead="")
    return greedy.draw_on(key, num_points - exact, num_configurations)


def _free(labelled: ArrayLike | None, pool: int) -> Array:
    """Marks the points of the pool that may be chosen."""
    if labelled is None:
        return jnp.ones(pool, bool)
    has_label = jnp.asarray(labelled)
    if has_label.dtype != bool:
        raise TypeError(
            f"labelled must hold bools, got an array of {has_label.dtype}; for indices "
            "use jnp.zeros(points, bool).at[indices].set(True)."
        )
    if has_label.shape != (pool,):
        raise ValueError(
            f"labelled must hold one bool for each point, of shape {(pool,)}, got "
            f"{has_label.shape}."
        )
    return ~has_label


class _Greedy:
    """The points chosen so far, and their possible joint labels.

    Attributes:
      log_probs: ``(samples, points, classes)``, of the pool.
      probs: their exponentials.
      doubt: ``(points,)``: the mean entropy of the samples, the aleatoric part.
      labels: ``(configurations, samples)``: the log-probability of each joint label
        under each sample.
      weights: ``(configurations,)``: the probability of each joint label, or its share
        of the drawn ones.
      free: ``(points,)``: which points can still be chosen.
      indices: the points chosen so far.
      gains: their gains.
    """

    def __init__(self, log_probs: Array, free: Array) -> None:
        samples = log_probs.shape[0]
        self.log_probs = log_probs
        self.probs = jnp.exp(log_probs)
        self.doubt = entropy(log_probs).mean(0)  # H[y | w], the aleatoric part
        self.labels = jnp.zeros((1, samples), log_probs.dtype)
        self.weights = jnp.ones(1, log_probs.dtype)
        self.free = free
        self.indices: list[Array] = []
        self.gains: list[Array] = []

    def choose(self) -> None:
        """Adds the point with the largest gain."""
        index, gain = self._best(self.labels, self.weights, self.free)
        self.free = self.free.at[index].set(False)
        self.indices.append(index)
        self.gains.append(gain)

    def branch(self) -> None:
        """Extends each joint label by all labels of the point chosen last."""
        of_last = self.log_probs[:, self.indices[-1], :].T
        extended = self.labels[:, None, :] + of_last[None, :, :]
        self.labels = extended.reshape(-1, extended.shape[-1])
        self.weights = jnp.exp(log_mean_exp(self.labels.T))

    def selection(self) -> Selection:
        """The points chosen so far."""
        return Selection(jnp.stack(self.indices), jnp.stack(self.gains))

    def draw_on(self, key: Key, more: int, configurations: int) -> Selection:
        """Chooses ``more`` points, with joint labels drawn from the model."""
        of_sample, of_labels = jax.random.split(key)
        order = jax.random.permutation(of_sample, len(self.log_probs))
        which = order[jnp.arange(configurations) % order.size]
        weights = jnp.full(configurations, 1 / configurations, self.weights.dtype)

        def extended(labels: Array, index: Array) -> Array:
            of_point = self.log_probs[:, index, :]
            drawn = jax.random.categorical(
                jax.random.fold_in(of_labels, index), of_point[which]
            )
            return labels + of_point[:, drawn].T

        labels = jnp.zeros((configurations, len(order)), self.labels.dtype)
        for index in self.indices:
            labels = extended(labels, index)

        def step(
            carry: tuple[Array, Array], _: None
        ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            labels, free = carry
            index, gain = self._best(labels, weights, free)
            carry = (extended(labels, index), free.at[index].set(False))
            return carry, (index, gain)

        start = as_carry(lambda carry: step(carry, None)[0], (labels, self.free))
        _, (indices, gains) = lax.scan(step, start, length=more)
        first = self.selection()
        return Selection(
            jnp.concatenate([first.indices, indices]),
            jnp.concatenate([first.gains, gains]),
        )

    def _best(self, labels: Array, weights: Array, free: Array) -> tuple[Array, Array]:
        """The free point with the largest gain, given labels of the chosen ones."""
        highest = labels.max(-1, keepdims=True)
        highest = jnp.where(jnp.isfinite(highest), highest, 0)
        beliefs = jnp.exp(labels - highest)
        total = beliefs.sum(-1, keepdims=True)
        beliefs = beliefs / jnp.where(total > 0, total, 1)  # of each sample, p(w | y)

        def surprise(probs: Array) -> Array:
            predicted = jnp.matmul(beliefs, probs, precision=Precision.HIGHEST)
            return jnp.vdot(weights, entropy_of_probs(predicted))

        gains = over_points(surprise, self.probs) - self.doubt
        index = jnp.where(free, gains, -jnp.inf).argmax().astype(jnp.int32)
        some = free.any()
        return jnp.where(some, index, -1), poison(gains[index], some)
