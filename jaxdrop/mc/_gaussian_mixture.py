"""Samples that are normal distributions: their mixture, and its two variances."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdrop._checks import as_count, check_choice, check_nonnegative, is_number
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


def gaussian_mixture(
    *,
    spread: str = "variance",
    noise: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    event_dims: int = 0,
    ddof: int = 1,
    of: Of = None,
) -> Reducer:
    """The mixture of the normal distributions that a model samples.

    * ``mean``: of the mixture.
    * ``aleatoric``: the mean of the variances, what the model thinks the noise is.
    * ``epistemic``: the variance of the means, how much the samples differ.
    * ``total``: their sum. Variances add up, standard deviations do not.
    * ``log_density``: the logarithm of the mixture's density at ``targets``, if given;
      less its mean is the negative log-likelihood of the prediction.

    Args:
      spread: what the second output is: ``"variance"``, ``"log_variance"`` or
        ``"std"``. Static.
      noise: the variance of the noise, where the outputs are means alone: Gal and
        Ghahramani's ``1 / tau``.
      targets: what was observed, in the shape of the means.
      event_dims: how many trailing axes form one observation, with one density: their
        errors are joint, as the samples share a mask. Static.
      ddof: what the epistemic sum of squares is divided by: the number of samples less
        this. Static.
      of: the part of the outputs that is a pair (mean, spread), or the means. Static.

    Returns:
      A reducer with these statistics, and the standard errors of ``mean``,
      ``aleatoric`` and ``log_density``.

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
    if noise is not None and is_number(noise):
        check_nonnegative(noise, caller="gaussian_mixture", name="noise")
    event_dims = as_count(event_dims, name="event_dims", least=0)
    ddof = as_count(ddof, name="ddof", least=0)

    def as_pair(outputs: PyTree) -> tuple[Any, Any]:
        return _as_pair(part(outputs, of), noise, spread)

    def init(outputs: PyTree) -> GaussianMixture:
        mean, variance = jax.eval_shape(as_pair, outputs)
        empty = None
        if targets is not None:
            if np.shape(targets) != mean.shape:
                raise ValueError(
                    f"targets must have the shape of the means, {mean.shape}, got "
                    f"{np.shape(targets)}."
                )
            batch = mean.shape[: mean.ndim - event_dims]
            empty = jnp.full(batch, -jnp.inf, float_of(mean.dtype))
        return GaussianMixture(
            no_moments(mean.shape, mean.dtype),
            no_moments(mean.shape, variance.dtype),
            empty,
            empty,
        )

    def of_samples(outputs: PyTree, valid: Array) -> GaussianMixture:
        mean, variance = (widened(x) for x in jax.vmap(as_pair)(outputs))
        once = twice = None
        if targets is not None:
            log_density = _log_density(mean, variance, targets, event_dims)
            counted = jnp.where(along(valid, log_density), log_density, -jnp.inf)
            once = jax.nn.logsumexp(counted, axis=0)
            twice = jax.nn.logsumexp(2 * counted, axis=0)
        return GaussianMixture(
            moments_of(mean, valid), moments_of(variance, valid), once, twice
        )

    def merge(a: GaussianMixture, b: GaussianMixture) -> GaussianMixture:
        return GaussianMixture(
            merge_moments(a.mean, b.mean),
            merge_moments(a.variance, b.variance),
            jax.tree.map(jnp.logaddexp, a.log_density, b.log_density),
            jax.tree.map(jnp.logaddexp, a.log_square, b.log_square),
        )

    def finalize(state: GaussianMixture) -> Stats:
        aleatoric = mean_of(state.variance)
        epistemic = variance_of(state.mean, ddof=ddof)
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

    def stderr(state: GaussianMixture) -> Stats:
        errors = {
            "mean": error_of_mean(state.mean),
            "aleatoric": error_of_mean(state.variance),
        }
        if state.log_density is not None and state.log_square is not None:
            count = state.mean.number.astype(state.log_density.dtype)
            # The relative variance of the mean density, by the delta method.
            excess = state.log_square + jnp.log(count) - 2 * state.log_density
            others = unless(count <= 1, count - 1)
            errors["log_density"] = safe_sqrt(
                jnp.expm1(jnp.maximum(excess, 0)) / others
            )
        return errors

    return Reducer(init, merging(of_samples, merge), merge, finalize, stderr)


def _as_pair(outputs: PyTree, noise: ArrayLike | None, spread: str) -> tuple[Any, Any]:
    """The mean and the variance of one sample."""
    if noise is not None:
        if len(jax.tree.leaves(outputs)) != 1 or not hasattr(outputs, "dtype"):
            raise ValueError("with noise= the outputs are means alone, one array.")
        mean = outputs
        variance = jnp.asarray(noise, float_of(mean.dtype))
        return mean, jnp.broadcast_to(variance, mean.shape)
    if not isinstance(outputs, tuple | list) or len(outputs) != 2:
        raise ValueError(
            "gaussian_mixture takes outputs (mean, spread), or means alone with "
            f"noise=, got {type(outputs).__name__}; name a part of them with of=."
        )
    mean, scale = outputs
    if mean.shape != scale.shape:
        raise ValueError(
            f"mean and {spread} must have one shape, got {mean.shape} and "
            f"{scale.shape}."
        )
    scale = scale.astype(float_of(scale.dtype))
    return mean, {"variance": lambda s: s, "log_variance": jnp.exp, "std": jnp.square}[
        spread
    ](scale)


def _log_density(
    mean: Array, variance: Array, targets: ArrayLike, event_dims: int
) -> Array:
    """The log-density of each sample at the targets, summed over an observation."""
    error = jnp.asarray(targets).astype(mean.dtype)[None] - mean
    terms = jnp.square(error) / variance + jnp.log(variance) + math.log(2 * math.pi)
    axes = tuple(range(terms.ndim - event_dims, terms.ndim))
    return -terms.sum(axes) / 2
