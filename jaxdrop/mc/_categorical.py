"""Class probabilities, votes and disagreement of samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._checks import as_count, check_choice
from jaxdrop._errors import named_with_results
from jaxdrop._typing import Array
from jaxdrop.mc._jackknife import (
    Groups,
    deal,
    jackknife_errors,
    merge_groups,
    no_groups,
)
from jaxdrop.mc._moments import (
    Moments,
    error_of_mean,
    mean_of,
    merge_moments,
    moments_of,
    no_moments,
    variance_of,
)
from jaxdrop.mc._reducer import (
    Of,
    Reducer,
    Stats,
    along,
    count_of,
    float_of,
    keep_valid,
    leafwise,
    merging,
    safe_sqrt,
    unless,
    widened,
)
from jaxdrop.metrics._entropy import entropy


class Categorical(NamedTuple):
    """Sums over samples from which means and entropies are computed.

    Attributes:
      probs: the moments of the probabilities.
      log_sum: the logarithm of their sum, which is finite even if they underflow.
      log_total: the sum of their logarithms.
      entropy: the moments of the entropies of single samples.
      groups: sums of probabilities and entropies by group, for the standard errors.
    """

    probs: Moments
    log_sum: Array
    log_total: Array
    entropy: Moments
    groups: Groups


class Votes(NamedTuple):
    """The numbers of samples, of votes for each class, and of samples with a NaN."""

    number: Array
    votes: Array
    missing: Array


@named_with_results
def categorical(
    *, debias: str | None = None, num_groups: int = 16, of: Of = None
) -> Reducer:
    """Predictive distribution, entropies and mutual information of samples of logits.

    Computed in one pass without storing samples: probabilities are summed in log space,
    and the entropies of samples are added up.

    * ``mean``, ``log_mean``: the predictive distribution and its logarithm,
      ``(*batch, classes)``. Pass the logarithm to
      :func:`jaxdrop.metrics.negative_log_likelihood`.
    * ``var``: the variance of each probability over samples.
    * ``predictive_entropy``: the entropy of ``mean``: the total uncertainty, in nats.
    * ``expected_entropy``: the mean entropy of the samples: the aleatoric part.
    * ``mutual_information``: their difference, the epistemic part (BALD): the
      information about the label in the weights. Never negative; below about 1e-6 nats
      it is a rounding error of float32.
    * ``reverse_mutual_information``: ``sum_c p_c (log p_c - mean_t log p_tc)``; its sum
      with the mutual information is the expected pairwise divergence of samples.
    * ``max_prob``, ``variation_ratio`` (``1 - max_prob``), ``margin`` (the largest
      probability minus the second largest).

    Args:
      debias: ``"analytic"`` adds ``1/(2T) sum_c var_c / mean_c``, the first-order
        bias correction for ``T`` samples, to the predictive entropy and so to the
        mutual information: about a tenth for ten samples. Static.
      num_groups: the number of groups of samples for the jackknife, which gives the
        standard errors of statistics that are not means. Each group takes as much
        memory as ``mean``. With 0 these errors are not computed. Static.
      of: the part of the outputs that holds logits ``(*batch, classes)``, with at least
        one batch axis and two classes. Static.

    Returns:
      A reducer with these statistics, and the standard errors of all but ``log_mean``,
      ``var`` and ``reverse_mutual_information``.

    Raises:
      ValueError: for logits without a batch axis or with a single class. A binary model
        with one logit has to return ``jaxdrop.metrics.binary_logits(logit)``.

    References:
      Houlsby, Huszár, Ghahramani, Lengyel, `Bayesian active learning for classification
      and preference learning <https://arxiv.org/abs/1112.5745>`_, 2011. Malinin, Gales,
      `Uncertainty estimation in autoregressive structured prediction
      <https://arxiv.org/abs/2002.07650>`_, ICLR 2021. Miller, `Note on the bias of
      information estimates`, 1955.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> fn = lambda key, x: x * jax.random.normal(key, x.shape)
      >>> result = mc.predict(fn, jax.random.key(0), jnp.ones((4, 3)), num_samples=8,
      ...                     reducers=mc.categorical())
      >>> result.stats["mean"].shape, result.stats["mutual_information"].shape
      ((4, 3), (4,))
      >>> bool((result.stats["mutual_information"] >= 0).all())
      True
    """
    if debias is not None:
        check_choice(debias, ("analytic",), name="debias")
    num_groups = as_count(num_groups, name="num_groups", least=0)
    of_array = Reducer(
        init=lambda logits: _empty(logits, num_groups),
        update=_updated,
        merge=_merged,
        finalize=lambda state: _statistics(state, debias=debias is not None),
        stderr=_errors,
    )
    return leafwise(of_array, Categorical, of=of)


def _empty(logits: jax.ShapeDtypeStruct, num_groups: int) -> Categorical:
    """The state before the first sample."""
    _check_classes(logits.shape)
    shape, dtype = logits.shape, float_of(logits.dtype)
    probs, own = no_moments(shape, dtype), no_moments(shape[:-1], dtype)
    return Categorical(
        probs=probs,
        log_sum=jnp.full(shape, -jnp.inf, dtype),
        log_total=jnp.zeros(shape, dtype),
        entropy=own,
        groups=no_groups(num_groups, (probs.mean, own.mean)),
    )


def _updated(state: Categorical, logits: Array, valid: Array) -> Categorical:
    """The state that includes ``(k, ...)`` further samples."""
    log_probs = jax.nn.log_softmax(widened(logits), axis=-1)
    probs = jnp.exp(log_probs)
    own = entropy(log_probs)
    counted = jnp.where(along(valid, log_probs), log_probs, -jnp.inf)
    groups = state.groups
    if groups.number.size:
        dealt = (keep_valid(probs, valid), keep_valid(own, valid))
        groups = deal(groups, state.probs.number, dealt, valid)
    return Categorical(
        probs=merge_moments(state.probs, moments_of(probs, valid)),
        log_sum=jnp.logaddexp(state.log_sum, jax.nn.logsumexp(counted, axis=0)),
        log_total=state.log_total + keep_valid(log_probs, valid).sum(0),
        entropy=merge_moments(state.entropy, moments_of(own, valid)),
        groups=groups,
    )


def _merged(a: Categorical, b: Categorical) -> Categorical:
    return Categorical(
        probs=merge_moments(a.probs, b.probs),
        log_sum=jnp.logaddexp(a.log_sum, b.log_sum),
        log_total=a.log_total + b.log_total,
        entropy=merge_moments(a.entropy, b.entropy),
        groups=merge_groups(a.groups, b.groups, a.probs.number),
    )


def _statistics(state: Categorical, *, debias: bool) -> Stats:
    """The statistics of a state; only ``log_mean`` is exact where means underflow."""
    count = state.probs.number.astype(state.log_sum.dtype)
    log_mean = state.log_sum - jnp.log(count)
    var = variance_of(state.probs, ddof=1)
    stats = _of_means((mean_of(state.probs), mean_of(state.entropy)), log_mean)
    if debias:
        share = jnp.where(state.probs.mean != 0, var / state.probs.mean, 0)
        missing = share.sum(-1) / (2 * count)
        stats["predictive_entropy"] += missing
        stats["mutual_information"] += missing
    return {
        "mean": mean_of(state.probs),
        "log_mean": log_mean,
        "var": var,
        "reverse_mutual_information": _reverse(log_mean, state.log_total / count),
        **stats,
    }


def _errors(state: Categorical) -> Stats:
    errors: Stats = {}
    if state.groups.number.size:
        errors = jackknife_errors(state.groups, _of_means)
        # Without one of two samples there is a single one left, with no disagreement.
        unknown = state.probs.number <= 2
        error = errors["mutual_information"]
        errors["mutual_information"] = unless(unknown, error)
    return {
        **errors,
        "mean": error_of_mean(state.probs),
        "expected_entropy": error_of_mean(state.entropy),
    }


@named_with_results
def votes(*, of: Of = None) -> Reducer:
    """The share of samples for which each class is the most probable.

    * ``votes``: the share of samples that vote for each class, ``(*batch, classes)``.
    * ``mode``: the class with the most votes; of ties, the lowest; -1 where a sample is
      NaN.
    * ``variation_ratio``: the share of votes that are not for the mode.
    * ``disagreement``: the share of pairs of samples that vote for different classes.

    Args:
      of: the part of the outputs that holds logits or probabilities
        ``(*batch, classes)``. Static.

    Returns:
      A reducer with these statistics, and the standard errors of ``votes`` and
      ``variation_ratio``.

    References:
      Gal, Islam, Ghahramani, `Deep Bayesian active learning with image data
      <https://arxiv.org/abs/1703.02910>`_, ICML 2017.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> fn = lambda key: jax.random.normal(key, (4, 3))
      >>> result = mc.predict(fn, jax.random.key(0), num_samples=8, reducers=mc.votes())
      >>> bool(jnp.allclose(result.stats["votes"].sum(-1), 1))
      True
    """

    def init(logits: jax.ShapeDtypeStruct) -> Votes:
        _check_classes(logits.shape)
        shapes = (), logits.shape, logits.shape[:-1]
        return Votes(*(jnp.zeros(shape, jnp.int32) for shape in shapes))

    def of_samples(logits: Array, valid: Array) -> Votes:
        cast = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=jnp.int32)
        missing = (logits != logits).any(-1).astype(jnp.int32)
        cast, missing = keep_valid(cast, valid), keep_valid(missing, valid)
        return Votes(
            count_of(valid),
            cast.sum(0, dtype=jnp.int32),
            missing.sum(0, dtype=jnp.int32),
        )

    def merge(a: Votes, b: Votes) -> Votes:
        total: Votes = jax.tree.map(jnp.add, a, b)
        return total

    def finalize(state: Votes) -> Stats:
        count = state.number.astype(jnp.float32)
        number = unless(state.missing[..., None] > 0, state.votes.astype(jnp.float32))
        pairs = unless(count <= 1, count * (count - 1))
        return {
            "votes": number / count,
            "mode": jnp.where(
                state.missing > 0, -1, state.votes.argmax(-1).astype(jnp.int32)
            ),
            "variation_ratio": 1 - number.max(-1) / count,
            "disagreement": 1 - (number * (number - 1) / pairs).sum(-1),
        }

    def stderr(state: Votes) -> Stats:
        count = state.number.astype(jnp.float32)
        share = state.votes.astype(jnp.float32) / count
        share = unless(state.missing[..., None] > 0, share)
        others = unless(count <= 1, count - 1)
        error = safe_sqrt(share * (1 - share) / others)
        mode = share.argmax(-1, keepdims=True)
        of_mode = jnp.take_along_axis(error, mode, axis=-1)[..., 0]
        return {"votes": error, "variation_ratio": of_mode}

    of_array = Reducer(init, merging(of_samples, merge), merge, finalize, stderr)
    return leafwise(of_array, Votes, of=of)


def _of_means(means: tuple[Array, Array], log_probs: Array | None = None) -> Stats:
    """The statistics that follow from the mean probabilities and the mean entropy."""
    probs, expected = means
    if log_probs is None:
        some = probs != 0
        log_probs = jnp.where(some, jnp.log(jnp.where(some, probs, 1)), -jnp.inf)
    total = entropy(log_probs)
    top = probs.max(-1)
    margin = top - jax.lax.top_k(probs, 2)[0][..., 1]
    return {
        "predictive_entropy": total,
        "expected_entropy": expected,
        "mutual_information": jnp.maximum(total - expected, 0),
        "max_prob": top,
        "variation_ratio": 1 - top,
        "margin": margin,
    }


def _reverse(log_mean: Array, mean_log: Array) -> Array:
    possible = log_mean != -jnp.inf
    gap = jnp.where(possible, log_mean, 0) - jnp.where(possible, mean_log, 0)
    return jnp.where(possible, jnp.exp(log_mean) * gap, 0).sum(-1)


def _check_classes(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[-1] < 2:
        raise ValueError(
            "class logits need a last axis of classes, two or more, and a batch axis "
            f"before it, got outputs of shape {shape}. If two classes have a single "
            "logit, return jaxdrop.metrics.binary_logits(logit); for a single example, "
            "return logits[None]."
        )
