"""Mixtures of normal distributions, for samples that are means and variances."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdrop._checks import (
    as_count,
    check_broadcast,
    check_choice,
    check_same_shape,
)
from jaxdrop._errors import named_with_results
from jaxdrop._numbers import as_real, in_parts
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, PyTree
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
    float_of,
    merging,
    part,
    safe_sqrt,
    unless,
    widened,
)


class GaussianMixture(NamedTuple):
    """The moments of means and variances, and the density of the targets.

    Attributes:
      mean: the moments of the samples' means.
      variance: the moments of their variances.
      log_density: the logarithm of the summed densities; None without targets.
      log_square: the logarithm of the summed squared densities.
    """

    mean: Moments
    variance: Moments
    log_density: Array | None
    log_square: Array | None


@named_with_results
def gaussian_mixture(
    *,
    spread: str = "variance",
    noise: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    event_dims: int = 0,
    ddof: int = 1,
    of: Of = None,
) -> Reducer:
    """The mixture of the normal distributions that a model predicts.

    * ``mean``: the mean of the mixture.
    * ``aleatoric``: the mean of the variances: the noise that the model predicts.
    * ``epistemic``: the variance of the means, due to the weights.
    * ``total``: their sum. (Variances can be added, standard deviations cannot.)
    * ``log_density``: the logarithm of the density of the mixture at ``targets``, if
      given; its negative mean is the negative log-likelihood of the prediction.

    Args:
      spread: the meaning of the second output: ``"variance"``, ``"log_variance"`` or
        ``"std"``. Static.
      noise: the variance of the noise, if the outputs are means only: ``1 / tau`` of
        Gal and Ghahramani.
      targets: the observed values, in the shape of the means.
      event_dims: the number of trailing axes that form one observation, with a joint
        density. Static.
      ddof: the epistemic sum of squares is divided by the number of samples minus this.
        Static.
      of: the part of the outputs that is a pair (mean, spread), or the means. Static.

    Returns:
      A reducer with these statistics, and the standard errors of ``mean``,
      ``aleatoric`` and ``log_density``. A variance of 0 is a point mass, with a density
      of 0 elsewhere; negative variances and standard deviations give NaN.

    References:
      Kendall, Gal, `What uncertainties do we need in Bayesian deep learning for
      computer vision? <https://arxiv.org/abs/1703.04977>`_, NeurIPS 2017. Gal,
      Ghahramani, `Dropout as a Bayesian approximation
      <https://arxiv.org/abs/1506.02142>`_, ICML 2016. Lakshminarayanan, Pritzel,
      Blundell, `Simple and scalable predictive uncertainty estimation using deep
      ensembles <https://arxiv.org/abs/1612.01474>`_, NeurIPS 2017.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> fn = lambda key, x: (x + jax.random.normal(key, x.shape), jnp.ones_like(x))
      >>> result = mc.predict(fn, jax.random.key(0), jnp.zeros(5), num_samples=8,
      ...                     reducers=mc.gaussian_mixture())
      >>> stats = result.stats
      >>> bool((stats["total"] == stats["aleatoric"] + stats["epistemic"]).all())
      True
    """
    check_choice(spread, ("variance", "log_variance", "std"), name="spread")
    if noise is not None:
        noise = as_real(noise, name="noise")
        if not noise.ndim:
            noise = as_strength(noise, name="noise")
    rest = None
    if targets is not None:
        targets, rest = in_parts(targets, name="targets")
    event_dims = as_count(event_dims, name="event_dims", least=0)
    ddof = as_count(ddof, name="ddof", least=0)

    mixture = _Mixture(spread, noise, targets, rest, event_dims, ddof, of)
    return Reducer(
        init=mixture.empty,
        update=merging(mixture.of_samples, _merged),
        merge=_merged,
        finalize=mixture.statistics,
        stderr=_errors,
    )


class _Mixture(NamedTuple):
    """The checked arguments of a reducer, and its functions."""

    spread: str
    noise: ArrayLike | None
    targets: ArrayLike | None
    rest: ArrayLike | None
    event_dims: int
    ddof: int
    of: Of

    def normal(self, outputs: PyTree) -> "_Normal":
        """The distribution of one sample."""
        return _normal(part(outputs, self.of), self.noise, self.spread)

    def empty(self, outputs: PyTree) -> GaussianMixture:
        """The state before the first sample."""
        mean, variance, *_ = jax.eval_shape(self.normal, outputs)
        if self.event_dims > mean.ndim:
            raise ValueError(
                f"event_dims={self.event_dims} is more than the axes of the means, "
                f"{mean.shape}."
            )
        empty = None
        if self.targets is not None:
            if np.shape(self.targets) != mean.shape:
                raise ValueError(
                    f"targets must have the shape of the means, {mean.shape}, got "
                    f"{np.shape(self.targets)}."
                )
            batch = mean.shape[: mean.ndim - self.event_dims]
            empty = jnp.full(batch, -jnp.inf, float_of(mean.dtype))
        return GaussianMixture(
            no_moments(mean.shape, mean.dtype),
            no_moments(mean.shape, variance.dtype),
            empty,
            empty,
        )

    def of_samples(self, outputs: PyTree, valid: Array) -> GaussianMixture:
        """The state after ``(k, ...)`` samples alone."""
        drawn = jax.tree.map(widened, jax.vmap(self.normal)(outputs))
        once = twice = None
        if self.targets is not None and self.rest is not None:
            log_density = _log_density(drawn, self.targets, self.rest, self.event_dims)
            counted = jnp.where(along(valid, log_density), log_density, -jnp.inf)
            once = jax.nn.logsumexp(counted, axis=0)
            twice = jax.nn.logsumexp(2 * counted, axis=0)
        return GaussianMixture(
            moments_of(drawn.mean, valid),
            moments_of(drawn.variance, valid),
            once,
            twice,
        )

    def statistics(self, state: GaussianMixture) -> Stats:
        """The statistics of a state."""
        aleatoric = mean_of(state.variance)
        epistemic = variance_of(state.mean, ddof=self.ddof)
        stats = {
            "mean": mean_of(state.mean),
            "aleatoric": aleatoric,
            "epistemic": epistemic,
            "total": aleatoric + epistemic,
        }
        if state.log_density is not None:
            count = state.mean.number.astype(state.log_density.dtype)
            stats["log_density"] = state.log_density - jnp.log(count)
        return stats


def _merged(a: GaussianMixture, b: GaussianMixture) -> GaussianMixture:
    return GaussianMixture(
        merge_moments(a.mean, b.mean),
        merge_moments(a.variance, b.variance),
        jax.tree.map(jnp.logaddexp, a.log_density, b.log_density),
        jax.tree.map(jnp.logaddexp, a.log_square, b.log_square),
    )


def _errors(state: GaussianMixture) -> Stats:
    errors = {
        "mean": error_of_mean(state.mean),
        "aleatoric": error_of_mean(state.variance),
    }
    if state.log_density is not None and state.log_square is not None:
        errors["log_density"] = _error_of_log(
            state.log_density, state.log_square, state.mean.number
        )
    return errors


class _Normal(NamedTuple):
    """Normal distributions, with their scale in three forms, each exact for its use.

    Attributes:
      mean: their means.
      variance: their variances; NaN where those of the model are negative.
      std: their standard deviations, which underflow later than the variances.
      log_variance: the logarithms of the variances.
    """

    mean: Any
    variance: Any
    std: Any
    log_variance: Any


def _normal(outputs: PyTree, noise: ArrayLike | None, spread: str) -> _Normal:
    """The distribution of one sample."""
    if noise is not None:
        if len(jax.tree.leaves(outputs)) != 1 or not hasattr(outputs, "dtype"):
            raise ValueError("with noise= the outputs must be means alone, one array.")
        check_broadcast(jnp.shape(noise), outputs.shape, name="noise", of="the outputs")
        variance = jnp.asarray(noise, float_of(outputs.dtype))
        outputs = outputs, jnp.broadcast_to(variance, outputs.shape)
        spread = "variance"
    if not isinstance(outputs, tuple | list) or len(outputs) != 2:
        raise ValueError(
            "the outputs must be (mean, spread), or means alone with noise=, got "
            f"{type(outputs).__name__}; select a part of them with of=."
        )
    mean, scale = outputs
    check_same_shape(mean, scale, names=f"mean and {spread}")
    scale = scale.astype(float_of(scale.dtype))
    if spread == "log_variance":
        return _Normal(mean, jnp.exp(scale), jnp.exp(scale / 2), scale)
    scale = unless(scale < 0, scale)
    some = jnp.where(scale > 0, scale, 1)
    log = jnp.where(scale > 0, jnp.log(some), jnp.where(scale == 0, -jnp.inf, scale))
    if spread == "std":
        return _Normal(mean, jnp.square(scale), scale, 2 * log)
    return _Normal(mean, scale, safe_sqrt(scale), log)


def _log_density(
    drawn: _Normal, targets: ArrayLike, rest: ArrayLike, event_dims: int
) -> Array:
    """The log-density of each sample at the targets, summed over an observation.

    A standard deviation of 0 is a point mass: its density is 0 everywhere else.
    """
    dtype = drawn.mean.dtype
    target, rest = (jnp.asarray(part).astype(dtype)[None] for part in (targets, rest))
    error = (target - drawn.mean) + rest
    is_point = drawn.std == 0
    scaled = jnp.where(is_point, 0, error) / jnp.where(is_point, 1, drawn.std)
    terms = jnp.square(scaled) + drawn.log_variance + math.log(2 * math.pi)
    misses = is_point & (error != 0)
    axes = tuple(range(terms.ndim - event_dims, terms.ndim))
    total = -jnp.where(misses, 0, terms).sum(axes) / 2
    return jnp.where(misses.any(axes) & ~jnp.isnan(total), -jnp.inf, total)


def _error_of_log(log_density: Array, log_square: Array, number: Array) -> Array:
    """The standard error of a log-density, from the relative variance of the mean.

    NaN where the density is 0 or infinite.
    """
    count = number.astype(log_density.dtype)
    known = jnp.isfinite(log_density)
    log_density, log_square = (
        jnp.where(known, values, 0) for values in (log_density, log_square)
    )
    excess = log_square + jnp.log(count) - 2 * log_density
    others = unless((count <= 1) | ~known, count - 1)
    return safe_sqrt(jnp.expm1(jnp.maximum(excess, 0)) / others)
