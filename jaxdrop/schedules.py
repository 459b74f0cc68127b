"""Rates that change: over the steps of training, and over the depth of a network.

A schedule is a plain function from a step to a rate, like those of optax: any optax
schedule can be used as a schedule of rates, and combined with these. Steps and rates
may be traced, so that a schedule inside a jitted step does not recompile. Steps may
count anything, such as tokens or frames, and may be Python or NumPy integers of any
size; a JAX counter is limited by its dtype. A step of NaN gives NaN, and so does a JAX
rate outside ``[0, 1]``.

* :func:`early`: a rate in the first steps only.
* :func:`late`: a rate after the first steps.
* :func:`curriculum`: a rate that rises from 0 and saturates.
* :func:`scheduled_drop_path`: rates that rise with depth and with the step.
* :func:`depth_rates`: rates that rise with depth.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._checks import (
    as_count,
    check_choice,
    check_rate,
)
from jaxdrop._errors import named, named_with_results
from jaxdrop._numbers import as_numbers
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, ArrayLike, Rate, Scalar, Schedule

__all__ = ["curriculum", "depth_rates", "early", "late", "scheduled_drop_path"]

_LONGEST = 2**63 - 1  # the largest value of a counter


@named_with_results
def early(rate: Rate, /, *, cutoff: int, decay: str = "linear") -> Schedule:
    """Regularizes the first ``cutoff`` steps only, to fit the training data better.

    At the start of training dropout makes the gradients of different batches more
    alike, which helps small models that underfit; later it only limits their capacity.

    Args:
      rate: the rate at the first step.
      cutoff: the number of steps that are regularized.
      decay: ``"linear"`` decreases from ``rate`` in the first of these steps to 0 in
        the last; ``"constant"`` stays at ``rate``.

    Returns:
      A function from a step, counted from 0, to a float32 rate.

    Raises:
      ValueError: if ``rate`` or ``cutoff`` is out of range, or ``decay`` is unknown.

    References:
      Liu, Xu, Jin, Shen, Darrell, `Dropout reduces underfitting
      <https://arxiv.org/abs/2303.01500>`_, ICML 2023.

    Examples:
      >>> from jaxdrop import schedules
      >>> schedule = schedules.early(0.5, cutoff=3)
      >>> [float(schedule(step)) for step in range(5)]
      [0.5, 0.25, 0.0, 0.0, 0.0]
    """
    check_rate(rate)
    cutoff = as_count(cutoff, name="cutoff", most=_LONGEST)
    check_choice(decay, ("linear", "constant"), name="decay")
    first = _as_rate(rate)

    def schedule(step: ArrayLike) -> Array:
        step = _as_step(step)
        lost = _share(step, cutoff - 1) if decay == "linear" else jnp.float32(0)
        return _known(step, jnp.where(_is_before(step, cutoff), first * (1 - lost), 0))

    return schedule


@named_with_results
def late(rate: Rate, /, *, cutoff: int) -> Schedule:
    """Regularizes from step ``cutoff`` onwards, when the model starts to overfit.

    Args:
      rate: the rate from step ``cutoff`` onwards.
      cutoff: the number of steps that are not regularized.

    Returns:
      A function from a step, counted from 0, to a float32 rate.

    Raises:
      ValueError: if ``rate`` or ``cutoff`` is out of range.

    References:
      Liu, Xu, Jin, Shen, Darrell, `Dropout reduces underfitting
      <https://arxiv.org/abs/2303.01500>`_, ICML 2023.

    Examples:
      >>> from jaxdrop import schedules
      >>> schedule = schedules.late(0.5, cutoff=2)
      >>> [float(schedule(step)) for step in range(4)]
      [0.0, 0.0, 0.5, 0.5]
    """
    check_rate(rate)
    cutoff = as_count(cutoff, name="cutoff", most=_LONGEST)
    last = _as_rate(rate)

    def schedule(step: ArrayLike) -> Array:
        step = _as_step(step)
        return _known(step, jnp.where(_is_before(step, cutoff), 0, last))

    return schedule


@named_with_results
def curriculum(rate: Rate, /, *, num_steps: int, sharpness: Scalar = 10.0) -> Schedule:
    """Raises the rate from 0 towards ``rate``, from an easy task to a hard one.

    ``rate * (1 - exp(-sharpness * step / num_steps))``; the paper uses a ``sharpness``
    of 10. For the opposite, annealing from ``rate`` to 0, use
    ``optax.exponential_decay``.

    Args:
      rate: the limit of the rate.
      num_steps: the length of training.
      sharpness: how fast the rate rises: over the length of training the distance to
        ``rate`` decreases by a factor of ``exp(-sharpness)``.

    Returns:
      A function from a step, counted from 0, to a float32 rate.

    Raises:
      ValueError: if an argument is out of range.

    References:
      Morerio, Cavazza, Volpi, Vidal, Murino, `Curriculum dropout
      <https://arxiv.org/abs/1703.06229>`_, ICCV 2017.

    Examples:
      >>> from jaxdrop import schedules
      >>> schedule = schedules.curriculum(0.5, num_steps=1000)
      >>> [round(float(schedule(step)), 3) for step in (0, 100, 1000)]
      [0.0, 0.316, 0.5]
    """
    check_rate(rate)
    num_steps = as_count(num_steps, name="num_steps", most=_LONGEST)
    strength = as_strength(sharpness, name="sharpness")
    limit = _as_rate(rate)
    decay = _held(strength)

    def schedule(step: ArrayLike) -> Array:
        passed = _held(_over(_as_step(step), num_steps))
        return -limit * jnp.expm1(-decay * passed)

    return schedule


@named_with_results
def scheduled_drop_path(rate: Rate, /, *, depth: int, num_steps: int) -> Schedule:
    """Raises rates linearly both with depth and over the course of training.

    Args:
      rate: the rate of the last cell at the end of training.
      depth: the number of cells.
      num_steps: the length of training; later steps have the final rates.

    Returns:
      A function from a step, counted from 0, to float32 rates of shape ``(depth,)``,
      which can be scanned over together with the cells' parameters; from an array of
      steps, to rates of shape ``(*steps, depth)``.

    Raises:
      ValueError: if an argument is out of range.

    References:
      Zoph, Vasudevan, Shlens, Le, `Learning transferable architectures for scalable
      image recognition <https://arxiv.org/abs/1707.07012>`_, CVPR 2018.

    Examples:
      >>> from jaxdrop import schedules
      >>> schedule = schedules.scheduled_drop_path(0.5, depth=2, num_steps=100)
      >>> [schedule(step).tolist() for step in (0, 50, 100)]
      [[0.0, 0.0], [0.125, 0.25], [0.25, 0.5]]
    """
    check_rate(rate)
    num_steps = as_count(num_steps, name="num_steps", most=_LONGEST)
    at_end = depth_rates(rate, depth, mode="linear_from_one")

    def schedule(step: ArrayLike) -> Array:
        share = _share(_as_step(step), num_steps)[..., None]
        return share * at_end.reshape((1,) * (share.ndim - 1) + at_end.shape)

    return schedule


@named
def depth_rates(rate: Rate, depth: int, /, *, mode: str = "linear") -> Array:
    """Gives each of ``depth`` layers its rate, the higher the deeper the layer.

    Three conventions are in use, all of them called linear:

    * ``"linear"``: ``rate * i / (depth - 1)``, from 0 to ``rate`` (timm, Swin, ViT);
    * ``"linear_from_one"``: ``rate * (i + 1) / depth``, from ``rate / depth`` to
      ``rate`` (the paper, ShakeDrop, NASNet);
    * ``"linear_from_zero"``: ``rate * i / depth``, from 0 to one step below ``rate``
      (TensorFlow's ResNets and EfficientNets).

    Args:
      rate: the largest rate, or in mode ``"linear_from_zero"`` one step above it; may
        be traced.
      depth: the number of layers. Static.
      mode: one of these three, with layers ``i`` counted from 0. Static.

    Returns:
      float32 rates of shape ``(depth,)``, which can be scanned over together with the
      parameters of the layers. The rate of a single layer is 0, ``rate`` or 0 in these
      modes.

    Raises:
      ValueError: if ``rate`` or ``depth`` is out of range, or ``mode`` is unknown.

    References:
      Huang, Sun, Liu, Sedra, Weinberger, `Deep networks with stochastic depth
      <https://arxiv.org/abs/1603.09382>`_, ECCV 2016.

    Examples:
      >>> from jaxdrop import schedules
      >>> schedules.depth_rates(0.5, 3).tolist()
      [0.0, 0.25, 0.5]
      >>> schedules.depth_rates(0.5, 2, mode="linear_from_one").tolist()
      [0.25, 0.5]
      >>> schedules.depth_rates(0.5, 2, mode="linear_from_zero").tolist()
      [0.0, 0.25]
    """
    check_rate(rate)
    check_choice(mode, ("linear", "linear_from_one", "linear_from_zero"), name="mode")
    depth = as_count(depth, name="depth")
    layer = np.arange(depth, dtype=np.float32)
    share = {
        "linear": layer / np.float32(max(depth - 1, 1)),
        "linear_from_one": (layer + 1) / np.float32(depth),
        "linear_from_zero": layer / np.float32(depth),
    }[mode]
    if isinstance(rate, jax.Array):
        return _as_rate(rate) * share
    with jax.ensure_compile_time_eval():  # concrete numbers, also while tracing
        return jnp.asarray(np.asarray(rate, np.float32) * share)


def _share(step: Any, num_steps: int) -> Array:
    """The fraction of ``num_steps`` that has passed at ``step``, from 0 to 1."""
    return jnp.clip(_over(step, max(num_steps, 1)), 0, 1)


def _over(step: Any, num_steps: int) -> Array:
    """``step / num_steps``, divided before it is rounded to float32."""
    if isinstance(step, jax.Array):
        return step.astype(jnp.float32) / float(num_steps)
    return jnp.asarray((step / num_steps).astype(np.float32))


def _held(number: Any) -> Array:
    """A number in float32, at most the largest: infinity times 0 would be NaN."""
    largest = float(np.finfo(np.float32).max)
    return jnp.minimum(jnp.asarray(number).astype(jnp.float32), largest)


def _is_before(step: Any, cutoff: int) -> Any:
    """Whether a step is below a cutoff, which may be too large for its dtype."""
    if not isinstance(step, jax.Array):
        return np.asarray(step < cutoff, bool)
    if jnp.issubdtype(step.dtype, jnp.integer):
        if cutoff > int(np.iinfo(step.dtype).max):
            return jnp.ones_like(step, bool)
        return step < np.asarray(cutoff, step.dtype)  # JAX itself reads it as int32
    return step < float(cutoff)


def _known(step: Any, rate: Array) -> Array:
    """``rate``, or NaN where the step is NaN: it is not before or after a cutoff."""
    if not jnp.issubdtype(step.dtype, jnp.floating):
        return rate
    return jnp.where(step == step, rate, jnp.nan)


def _as_step(step: ArrayLike) -> Any:
    """A step of at least 0, in 32 bits or more, from any type of counter.

    A step from the host is returned as a NumPy array in its own precision.
    """
    counted: Any = as_numbers(step, "step")
    if counted.dtype == object:  # integers of any size; float32 holds 2**100
        known = counted == counted  # np.clip makes a number of NaN
        held = np.clip(np.where(known, counted, 0), -(2**100), 2**100)
        counted = np.where(known, np.asarray(held, np.float64), np.nan)
    if not jnp.issubdtype(counted.dtype, jnp.number) or jnp.iscomplexobj(counted):
        raise TypeError(f"step must be a real number, got an array of {counted.dtype}.")
    if counted.dtype.itemsize < 4:
        whole = jnp.issubdtype(counted.dtype, jnp.integer)
        counted = counted.astype(np.int32 if whole else np.float32)
    xp: Any = jnp if isinstance(counted, jax.Array) else np
    return xp.maximum(counted, 0)


def _as_rate(rate: Rate) -> Array:
    """A rate in float32; NaN for a JAX array that is out of range."""
    value = jnp.asarray(rate)  # compared before it is rounded
    inside = (value >= 0) & (value <= 1)
    return jnp.where(inside, value.astype(jnp.float32), jnp.nan)


def __dir__() -> list[str]:
    return sorted(__all__)
