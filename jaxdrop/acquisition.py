"""Acquisition: which points are worth a label, by what samples of a model say of them.

Every function takes logits of samples, ``(samples, points, classes)``, such as
``mc.samples(apply_fn, key, params, pool, num_samples=100, draws="shared")``, and gives
one score per point: the higher, the more there is to learn. Shared draws matter for
what points say jointly, in :func:`batch_bald` and :func:`epig`. The scores of single
points also come without storing samples, from ``mc.predict``. For a binary model with
one logit see :func:`jaxdrop.metrics.binary_logits`.

* :func:`bald`: the mutual information of a label and the model.
* :func:`max_entropy`: the entropy of the mean prediction.
* :func:`variation_ratio`: the share of samples against the class with the most votes.
* :func:`margin`: how close the two most probable classes are.
* :func:`batch_bald`: points whose labels together tell the most, a :class:`Selection`.
* :func:`epig`: the mutual information with the labels of target inputs.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision
from jax.typing import ArrayLike

from jaxdrop._checks import as_count, check_count, require_key
from jaxdrop._numbers import as_host
from jaxdrop._typing import Array, Key
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._entropy import entropy, log_mean_exp
from jaxdrop.metrics._examples import as_float, poison
from jaxdrop.metrics._probabilities import check_classes

__all__ = [
    "Selection",
    "bald",
    "batch_bald",
    "epig",
    "margin",
    "max_entropy",
    "variation_ratio",
]

_POINTS_AT_A_TIME = 64  # of the pool, in what is quadratic in memory
_NUMBERS_AT_A_TIME = 2**24  # of joint probabilities in epig: 64 MiB of float32


class Selection(NamedTuple):
    """Points in the order in which they were chosen.

    Attributes:
      indices: ``(num_points,)``: which points of the pool.
      gains: ``(num_points,)``: what each adds to the information of those before it, in
        nats; their sum is the joint mutual information of the labels and the model.
    """

    indices: Array
    gains: Array


@compiled()
def bald(logits: ArrayLike, /) -> Array:
    """The mutual information of a point's label and the model's weights.

    High where each sample is sure and the samples disagree; ambiguous points, where all
    samples are unsure, score low.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities.

    Returns:
      The scores ``(points,)`` in nats, never negative.

    References:
      Houlsby, Huszár, Ghahramani, Lengyel, `Bayesian active learning for classification
      and preference learning <https://arxiv.org/abs/1112.5745>`_, 2011. Gal, Islam,
      Ghahramani, `Deep Bayesian active learning with image data
      <https://arxiv.org/abs/1703.02910>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import bald
      >>> disagreement = jnp.array([[9.0, -9.0], [-9.0, 9.0]])
      >>> doubt = jnp.zeros((2, 2))
      >>> scores = bald(jnp.stack([disagreement, doubt], axis=1))
      >>> bool(scores[0] > 0.69), bool(abs(scores[1]) < 1e-6)
      (True, True)
    """
    log_probs = _log_probs(logits)
    mean_entropy = entropy(log_probs).mean(0)
    return jnp.maximum(entropy(log_mean_exp(log_probs)) - mean_entropy, 0)


@compiled()
def max_entropy(logits: ArrayLike, /) -> Array:
    """The entropy of the mean prediction: all uncertainty, whatever its cause.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities.

    Returns:
      The scores ``(points,)`` in nats.

    References:
      Shannon, `A mathematical theory of communication
      <https://doi.org/10.1002/j.1538-7305.1948.tb01338.x>`_, 1948.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import max_entropy
      >>> bool(jnp.allclose(max_entropy(jnp.zeros((5, 3, 4))), jnp.log(4.0)))
      True
    """
    return entropy(log_mean_exp(_log_probs(logits)))


@compiled()
def variation_ratio(logits: ArrayLike, /) -> Array:
    """The share of samples that do not vote for the class with the most votes.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities.

    Returns:
      The scores ``(points,)``, from 0 to below 1.

    References:
      Freeman, `Elementary applied statistics`, 1965. Gal, Islam, Ghahramani, `Deep
      Bayesian active learning with image data <https://arxiv.org/abs/1703.02910>`_,
      ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import variation_ratio
      >>> votes = jnp.eye(2)[jnp.array([[0], [0], [0], [1]])]
      >>> variation_ratio(votes).tolist()
      [0.25]
    """
    log_probs = _log_probs(logits)
    number = log_probs.shape[-1]
    cast: Array = jax.nn.one_hot(log_probs.argmax(-1), number, dtype=log_probs.dtype)
    return poison(1 - cast.mean(0).max(-1), ~jnp.isnan(log_probs).any((0, -1)))


@compiled()
def margin(logits: ArrayLike, /) -> Array:
    """One less the lead of the most probable class over the second.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities, of at least
        two classes.

    Returns:
      The scores ``(points,)``: 1 where two classes tie, 0 where one is certain.

    Raises:
      ValueError: if there is one class.

    References:
      Scheffer, Decomain, Wrobel, `Active hidden Markov models for information
      extraction <https://doi.org/10.1007/3-540-44816-0_31>`_, 2001.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.acquisition import margin
      >>> f"{margin(jnp.log(jnp.array([[[0.5, 0.3, 0.2]]])))[0]:.2f}"
      '0.80'
    """
    probs = jnp.exp(log_mean_exp(_log_probs(logits)))
    best, _ = lax.top_k(probs, 2)
    return 1 - (best[..., 0] - best[..., 1])


def batch_bald(
    key: Key | None,
    logits: ArrayLike,
    /,
    *,
    num_points: int,
    num_configurations: int = 1024,
    labelled: ArrayLike | None = None,
) -> Selection:
    """Chooses points whose labels together tell the most about the model.

    The best points one by one are often copies of each other. Here each point is chosen
    for what it adds to those before: ``I(y; w | y_1, ..., y_n)``, averaged over what
    their labels may be. While there are few enough, all possible labels are gone
    through; then they are drawn from the model, and weighed in log space, so that
    hundreds of points do not underflow.

    Args:
      key: a PRNG key for the labels that are drawn; may be ``None`` where all possible
        ones are gone through, ``classes ** (num_points - 1) <= num_configurations``.
      logits: ``(samples, points, classes)``: logits or log-probabilities of *shared*
        draws: one function per sample for all points.
      num_points: how many to choose. Static.
      num_configurations: how many joint labels of the chosen points to hold. Memory is
        this times the samples. Static.
      labelled: ``(points,)``, bools: true for points that have a label already and are
        not to be chosen; None if there are none.

    Returns:
      The indices in the order of choice, and what each of them added. Where a JAX array
      ``labelled`` leaves too few points, the index is -1 and the gain NaN.

    Raises:
      ValueError: if there are fewer points than are to be chosen, a count is not
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
      >>> copies = jnp.repeat(logits, 2, axis=1)  # points 0 and 1, and 2 and 3
      >>> chosen = batch_bald(None, copies, num_points=2)
      >>> bool(chosen.indices[0] // 2 != chosen.indices[1] // 2)
      True
    """
    if labelled is not None and not isinstance(labelled, jax.Array):
        labelled = as_host(labelled, "labelled")
        free = labelled.size - np.count_nonzero(labelled)
        if labelled.dtype == bool and isinstance(num_points, int) and free < num_points:
            raise ValueError(
                f"num_points must be at most the number of points that are not "
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
    log_probs = _log_probs(logits)
    _, pool, classes = log_probs.shape
    for name, count in (
        ("num_points", num_points),
        ("num_configurations", num_configurations),
    ):
        if check_count(count, caller="batch_bald", name=name) < 1:
            raise ValueError(f"batch_bald: {name} must be at least 1, got {count}.")
    if num_points > pool:
        raise ValueError(
            f"num_points must be from 1 to the number of points, {pool}, got "
            f"{num_points}."
        )
    greedy = _Greedy(log_probs, _free(labelled, pool))
    exact = 1  # points chosen while all labels of those before fit
    while exact < num_points and classes**exact <= num_configurations:
        exact += 1
    greedy.choose()
    for _ in range(exact - 1):
        greedy.branch()
        greedy.choose()
    if exact == num_points:
        return greedy.selection()
    key = require_key(key, caller="batch_bald", instead="")
    return greedy.draw_on(key, num_points - exact, num_configurations)


def _free(labelled: ArrayLike | None, pool: int) -> Array:
    """Which points of the pool may be chosen."""
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


@compiled("chunk_size")
def epig(
    logits: ArrayLike,
    target_logits: ArrayLike,
    /,
    *,
    chunk_size: int | None = None,
) -> Array:
    """How much a label tells about the predictions that matter.

    The mutual information of a point's label and the label of a target input, averaged
    over targets. Unlike BALD it does not care for weights that no target depends on.

    Args:
      logits: ``(samples, points, classes)``: logits or log-probabilities of the pool.
      target_logits: ``(samples, targets, classes)``: of the targets, from the same
        functions: shared draws, under the same key.
      chunk_size: how many pairs of a point and a target are held at once, each with
        the joint probabilities of its labels, ``classes**2`` numbers. Fewer need less
        memory, more may be faster; None for what fits into 64 MiB. Static.

    Returns:
      The scores ``(points,)`` in nats, never negative.

    Raises:
      ValueError: if the numbers of samples differ, there are no targets, or
        ``chunk_size`` is not positive.
      TypeError: if ``chunk_size`` is not an integer.

    References:
      Bickford Smith, Kirsch, Farquhar, Gal, Foster, Rainforth, `Prediction-oriented
      Bayesian active learning <https://arxiv.org/abs/2304.08151>`_, AISTATS 2023.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop.acquisition import epig
      >>> logits = 5 * jax.random.normal(jax.random.key(0), (200, 2, 3))
      >>> scores = epig(logits, logits[:, :1])  # the target is the first point
      >>> bool(scores[0] > scores[1])
      True
    """
    pool, targets = _log_probs(logits), _log_probs(target_logits, name="target_logits")
    if len(pool) != len(targets):
        raise ValueError(
            "logits and target_logits must come from the same samples, got "
            f"{len(pool)} and {len(targets)}."
        )
    if not targets.shape[1]:
        raise ValueError(
            f"epig: target_logits must have targets, got shape {targets.shape}."
        )
    targets = targets.astype(pool.dtype)
    num_pairs = _NUMBERS_AT_A_TIME // (pool.shape[-1] * targets.shape[-1])
    if chunk_size is not None:
        num_pairs = as_count(chunk_size, name="chunk_size")
    num_targets = min(max(num_pairs, 1), targets.shape[1])
    num_points = min(max(num_pairs // num_targets, 1), _POINTS_AT_A_TIME)
    of_targets = jnp.exp(targets).swapaxes(0, 1), entropy(log_mean_exp(targets))

    def of_point(log_probs: Array) -> Array:
        probs, entropy_of_point = jnp.exp(log_probs), entropy(log_mean_exp(log_probs))

        def of_pair(target: tuple[Array, Array]) -> Array:
            target_probs, entropy_of_target = target
            joint = jnp.matmul(probs.T, target_probs, precision=Precision.HIGHEST)
            joint_entropy = _entropy_of_probs(joint.ravel() / len(probs))
            return jnp.maximum(entropy_of_point + entropy_of_target - joint_entropy, 0)

        return lax.map(of_pair, of_targets, batch_size=num_targets).mean()

    return _over_points(of_point, pool, num_points)


class _Greedy:
    """The choice so far, and the joint labels that the chosen points may have.

    Attributes:
      labels: ``(configurations, samples)``: the log-probability of each joint label
        under each sample.
      weights: ``(configurations,)``: the probability of each, or its share of draws.
    """

    def __init__(self, log_probs: Array, free: Array) -> None:
        samples = log_probs.shape[0]
        self.log_probs = log_probs
        self.probs = jnp.exp(log_probs)
        self.doubt = entropy(log_probs).mean(0)  # H[y | w], which no label removes
        self.labels = jnp.zeros((1, samples), log_probs.dtype)
        self.weights = jnp.ones(1, log_probs.dtype)
        self.free = free
        self.indices: list[Array] = []
        self.gains: list[Array] = []

    def choose(self) -> None:
        """Adds the point of the largest gain."""
        index, gain = self._best(self.labels, self.weights, self.free)
        self.free = self.free.at[index].set(False)
        self.indices.append(index)
        self.gains.append(gain)

    def branch(self) -> None:
        """Splits each joint label by the label of the point chosen last."""
        of_last = self.log_probs[:, self.indices[-1], :].T
        extended = self.labels[:, None, :] + of_last[None, :, :]
        self.labels = extended.reshape(-1, extended.shape[-1])
        self.weights = jnp.exp(log_mean_exp(self.labels.T))

    def selection(self) -> Selection:
        """The choice."""
        return Selection(jnp.stack(self.indices), jnp.stack(self.gains))

    def draw_on(self, key: Key, more: int, configurations: int) -> Selection:
        """Chooses ``more`` points, with joint labels that are drawn from the model."""
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

        _, (indices, gains) = lax.scan(step, (labels, self.free), length=more)
        first = self.selection()
        return Selection(
            jnp.concatenate([first.indices, indices]),
            jnp.concatenate([first.gains, gains]),
        )

    def _best(self, labels: Array, weights: Array, free: Array) -> tuple[Array, Array]:
        """The free point whose label says the most, given those of the chosen ones."""
        highest = labels.max(-1, keepdims=True)
        highest = jnp.where(jnp.isfinite(highest), highest, 0)
        beliefs = jnp.exp(labels - highest)
        total = beliefs.sum(-1, keepdims=True)
        beliefs = beliefs / jnp.where(total > 0, total, 1)  # of each sample, p(w | y)

        def surprise(probs: Array) -> Array:
            predicted = jnp.matmul(beliefs, probs, precision=Precision.HIGHEST)
            return jnp.vdot(weights, _entropy_of_probs(predicted))

        gains = _over_points(surprise, self.probs) - self.doubt
        index = jnp.where(free, gains, -jnp.inf).argmax().astype(jnp.int32)
        some = free.any()
        return jnp.where(some, index, -1), poison(gains[index], some)


def _over_points(
    function: Callable[[Array], Array],
    samples: Array,
    number: int = _POINTS_AT_A_TIME,
) -> Array:
    """Maps a function of ``(samples, classes)`` over a pool, ``number`` at a time."""
    points = jnp.moveaxis(samples, 1, 0)
    scores: Array = lax.map(function, points, batch_size=number)
    return scores


def _entropy_of_probs(probs: Array) -> Array:
    some = probs != 0
    return -jnp.where(some, probs * jnp.log(jnp.where(some, probs, 1)), 0).sum(-1)


def _log_probs(logits: ArrayLike, *, name: str = "logits") -> Array:
    table = as_float(logits, name=name)
    if table.ndim != 3 or math.prod(table.shape[::2]) == 0:
        remedy = (
            " For a binary model with one logit use jaxdrop.metrics.binary_logits."
            if table.ndim == 2
            else ""
        )
        raise ValueError(
            f"{name} must be (samples, points, classes), got shape {table.shape}."
            f"{remedy}"
        )
    check_classes(table.shape, name=name)
    return jax.nn.log_softmax(table, axis=-1)
