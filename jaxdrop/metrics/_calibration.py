"""Calibration: whether predictions of confidence 0.8 are correct 8 times in 10."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxdrop._checks import check_switch
from jaxdrop._errors import named
from jaxdrop._typing import Array
from jaxdrop.metrics._bins import (
    CalibrationBins,
    equal_mass_bins,
    fill,
    uniform_bins,
)
from jaxdrop.metrics._compiled import compiled
from jaxdrop.metrics._examples import (
    as_classified,
    as_float,
    as_level,
    in_units,
    is_label,
    is_probability,
    poison,
    weighted_mean,
)


@named
@compiled("num_bins")
def calibration_bins(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
) -> CalibrationBins:
    """Sorts examples into bins of equal width by the confidence of their prediction.

    Bins of two batches add up, so that a test set of any size can be streamed, and all
    calibration errors are computed from the same bins.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the number of bins of equal width in ``[0, 1]``. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      The bins.

    References:
      Guo, Pleiss, Sun, Weinberger, `On calibration of modern neural networks
      <https://arxiv.org/abs/1706.04599>`_, ICML 2017.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop.metrics import calibration_bins
      >>> probs = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
      >>> labels = jnp.array([0, 1, 1])
      >>> first = calibration_bins(probs[:2], labels[:2], num_bins=10)
      >>> second = calibration_bins(probs[2:], labels[2:], num_bins=10)
      >>> both = jax.tree.map(jnp.add, first, second)
      >>> both.weight.astype(int).tolist()
      [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
      >>> f"{both.expected_error:.3f}"  # (0.1 + 0.8 + 0.3) / 3
      '0.400'
    """
    confidence, correct, counts = _top_label(probs, labels, weights)
    return fill(uniform_bins(confidence, num_bins), confidence, correct, counts)


@named
@compiled("num_bins")
def expected_calibration_error(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
) -> Array:
    """The mean gap between accuracy and confidence over bins of equal width.

    ``sum_b n_b / N * |accuracy_b - confidence_b|``. Bins are closed on the left, the
    last one on both sides. The value depends on ``num_bins``, which should be reported.

    Args:
      probs: probabilities ``(*batch, classes)``, for example the mean over Monte-Carlo
        samples. For two classes and one output use ``jnp.stack([1 - p, p], -1)``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the number of bins of equal width in ``[0, 1]``. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``; NaN without examples.

    Raises:
      ValueError: if shapes do not fit, or ``num_bins`` is not positive.
      TypeError: if labels are not integers.

    References:
      Naeini, Cooper, Hauskrecht, `Obtaining well calibrated probabilities using
      Bayesian binning <https://ojs.aaai.org/index.php/AAAI/article/view/9602>`_, AAAI
      2015. Guo, Pleiss, Sun, Weinberger, `On calibration of modern neural networks
      <https://arxiv.org/abs/1706.04599>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import expected_calibration_error
      >>> probs = jnp.array([[0.75, 0.25]] * 4)
      >>> float(expected_calibration_error(probs, jnp.array([0, 0, 0, 1])))
      0.0
      >>> float(expected_calibration_error(probs, jnp.array([0, 0, 0, 0])))
      0.25
    """
    return calibration_bins(
        probs, labels, num_bins=num_bins, weights=weights
    ).expected_error


@named
@compiled("num_bins")
def maximum_calibration_error(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
) -> Array:
    """The largest gap between accuracy and confidence of any bin that is not empty.

    A bin with one example counts as much as any other, so that the value is dominated
    by chance where bins hold few examples.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the number of bins of equal width in ``[0, 1]``. Static.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``; NaN without examples.

    References:
      Guo, Pleiss, Sun, Weinberger, `On calibration of modern neural networks
      <https://arxiv.org/abs/1706.04599>`_, ICML 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import maximum_calibration_error
      >>> probs = jnp.array([[1.0, 0.0]] * 9 + [[0.5, 0.5]])
      >>> float(maximum_calibration_error(probs, jnp.zeros(10, int)))
      0.5
    """
    return calibration_bins(
        probs, labels, num_bins=num_bins, weights=weights
    ).maximum_error


@named
@compiled("num_bins")
def debiased_calibration_error(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
) -> Array:
    """An unbiased estimate of the *squared* calibration error.

    With few examples per bin, accuracy differs from confidence by chance, and the plain
    estimates are above 0 for a calibrated model. This one subtracts the variance of
    each bin's accuracy. It may be negative.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the number of bins of equal width in ``[0, 1]``. Static.
      weights: ``(*batch)``: the weight of each example. An example of weight 2 is
        more important, but does not count as two examples.

    Returns:
      A scalar: the mean over examples of ``(accuracy_b - confidence_b)**2``, debiased.
      Bins with one example contribute 0. NaN without examples.

    References:
      Kumar, Liang, Ma, `Verified uncertainty calibration
      <https://arxiv.org/abs/1909.10155>`_, NeurIPS 2019.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import debiased_calibration_error
      >>> probs = jnp.array([[0.5, 0.5]] * 4)
      >>> error = debiased_calibration_error(probs, jnp.array([0, 1, 0, 1]))
      >>> f"{error:.4f}"  # a gap of 0, less the variance of the mean of 4 coin flips
      '-0.0833'
    """
    if weights is not None:
        weights = in_units(as_float(weights, name="weights"))
    return calibration_bins(
        probs, labels, num_bins=num_bins, weights=weights
    ).debiased_squared_error


@named
def adaptive_calibration_error(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    weights: ArrayLike | None = None,
) -> Array:
    """The expected calibration error with bins that hold equally many examples.

    Most confidences of modern networks are near 1, where bins of equal width are too
    coarse. Equal confidences share a bin, so that the order of examples does not
    matter.

    Args:
      probs: probabilities ``(*batch, classes)``; only the most probable class is used.
        For all classes see :func:`classwise_calibration_error` with ``adaptive=True``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the largest number of bins. Static.
      weights: ``(*batch)``: the weight of each example; bins hold equal weights.

    Returns:
      A scalar in ``[0, 1]``; NaN without examples.

    References:
      Nguyen, O'Connor, `Posterior calibration and exploratory analysis for natural
      language processing models <https://arxiv.org/abs/1508.05154>`_, EMNLP 2015.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import adaptive_calibration_error
      >>> p = jnp.array([0.98, 0.98, 0.99, 0.99])
      >>> probs = jnp.stack([p, 1 - p], -1)
      >>> error = adaptive_calibration_error(probs, jnp.zeros(4, int), num_bins=2)
      >>> f"{error:.3f}"
      '0.015'
    """
    return _adaptive(probs, labels, probs, weights, num_bins=num_bins)


@compiled("num_bins", ordered=("order",))
def _adaptive(
    probs: ArrayLike,
    labels: ArrayLike,
    order: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    num_bins: int,
) -> Array:
    """Bins by ``order``, in which probabilities of NumPy do not become equal."""
    confidence, correct, counts = _top_label(probs, labels, weights)
    places = as_float(order, name="probs").max(-1).ravel()
    bins = equal_mass_bins(places, counts, num_bins)
    return fill(bins, confidence, correct, counts).expected_error


@named
def classwise_calibration_error(
    probs: ArrayLike,
    labels: ArrayLike,
    /,
    *,
    num_bins: int = 15,
    adaptive: bool = False,
    threshold: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Array:
    """The calibration error of every class's probability, averaged over the classes.

    The errors of the top label do not depend on the other probabilities. Here each
    class is treated as a binary problem.

    Args:
      probs: probabilities ``(*batch, classes)``.
      labels: the true classes ``(*batch)``, integers.
      num_bins: the number of bins of each class. Static.
      adaptive: give each bin equally many examples (the adaptive calibration error of
        Nixon et al.) instead of equal width. Static.
      threshold: ignore probabilities that are not above this number in ``[0, 1]``
        (their thresholded error): with many classes nearly all are close to 0.
      weights: ``(*batch)``: the weight of each example.

    Returns:
      A scalar in ``[0, 1]``: the mean over the classes that have a probability above
      the threshold. NaN without examples.

    Raises:
      ValueError: if ``threshold`` is below 0 or above 1; a JAX array gives NaN.
      TypeError: if it is not a real number.

    References:
      Kull, Perello-Nieto, Kängsepp, Silva Filho, Song, Flach, `Beyond temperature
      scaling <https://arxiv.org/abs/1910.12656>`_, NeurIPS 2019. Nixon, Dusenberry,
      Zhang, Jerfel, Tran, `Measuring calibration in deep learning
      <https://arxiv.org/abs/1904.01685>`_, 2019.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop.metrics import classwise_calibration_error
      >>> probs = jnp.array([[0.5, 0.25, 0.25]] * 4)
      >>> float(classwise_calibration_error(probs, jnp.array([0, 0, 1, 2])))
      0.0
    """
    if threshold is not None:
        threshold = as_level(threshold, name="threshold", ends="01")
    adaptive = check_switch(adaptive, name="adaptive")
    return _classwise(
        probs, labels, probs, threshold, weights, num_bins=num_bins, adaptive=adaptive
    )


@compiled("num_bins", "adaptive", ordered=("order",))
def _classwise(
    probs: ArrayLike,
    labels: ArrayLike,
    order: ArrayLike,
    threshold: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    num_bins: int,
    adaptive: bool,
) -> Array:
    """The mean over classes; ``order`` has the probabilities in exact order."""
    table, labels, counts = as_classified(probs, labels, weights, name="probs")
    table = poison(table, is_probability(table))
    classes = jnp.arange(table.shape[1], dtype=labels.dtype)

    places = as_float(order, name="probs").reshape(table.shape)

    def of_class(p: Array, place: Array, label: Array) -> tuple[Array, Array]:
        hit = poison((labels == label).astype(p.dtype), is_label(labels, classes.size))
        kept = counts
        if threshold is not None:
            least = jnp.asarray(threshold, p.dtype)
            kept = poison(jnp.where(p <= least, 0, counts), ~jnp.isnan(least))
        bins = (
            equal_mass_bins(place, kept, num_bins)
            if adaptive
            else uniform_bins(p, num_bins)
        )
        return fill(bins, p, hit, kept).expected_error, kept.sum()

    errors, mass = jax.vmap(of_class, in_axes=(1, 1, 0))(table, places, classes)
    present = (mass != 0).astype(errors.dtype)  # NaN is not absent
    return weighted_mean(errors, present)


def _top_label(
    probs: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """The confidence of each prediction, 1 where it is correct, and its weight.

    NaN where a probability or a label is invalid.
    """
    table, labels, counts = as_classified(probs, labels, weights, name="probs")
    confidence = table.max(-1)
    correct = (table.argmax(-1).astype(labels.dtype) == labels).astype(table.dtype)
    return (
        poison(confidence, is_probability(table).all(-1)),
        poison(correct, is_label(labels, table.shape[-1])),
        counts,
    )
