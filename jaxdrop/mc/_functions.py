"""Samples as functions: one draw for all inputs, and their joint distribution."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._checks import as_count, check_callable
from jaxdrop._errors import named_as
from jaxdrop._typing import Array, Key, PyTree
from jaxdrop.mc._moments import covariance
from jaxdrop.mc._predict import predict
from jaxdrop.mc._reducer import Reducer
from jaxdrop.mc._rows import BatchAxis, rowwise
from jaxdrop.mc._sampling import SamplingPlan, as_given, flattened, fold, sampler


class Joint(NamedTuple):
    """The mean and the covariance of the outputs for several inputs.

    Attributes:
      mean: in the shape of the outputs, ``(N, *output)``.
      covariance: ``(N * D, N * D)``, where ``D`` is the size of one output.
    """

    mean: Array
    covariance: Array


@named_as("mc.samples")
def samples(
    apply_fn: Callable[..., PyTree],
    key: Key,
    /,
    *args: Any,
    num_samples: int,
    draws: str = "independent",
    batch_axis: BatchAxis = 0,
    chunk_size: int = 1,
) -> PyTree:
    """Samples of a random function, stacked along a new first axis.

    These are the samples that :func:`predict` reduces. The memory of the result grows
    with their number; the memory for drawing them does not.

    Args:
      apply_fn: ``(key, *args) -> outputs``, any tree of arrays. Static.
      key: a PRNG key; sample ``t`` uses ``fold_in(key, t)``.
      *args: the function's other arguments: weights, inputs.
      num_samples: the number of samples to draw. Static.
      draws: ``"independent"`` or ``"shared"``, as in :func:`predict`. Static.
      batch_axis: with shared draws, the axis of the rows in the last argument, or a
        tuple with an axis or None for each argument. Static.
      chunk_size: the number of samples that are drawn at a time. Static.

    Returns:
      The outputs, ``(num_samples, *output)``.

    Raises:
      ValueError: if no output depends on the key.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> fn = lambda key, x: x * jax.random.normal(key, x.shape)
      >>> drawn = mc.samples(fn, jax.random.key(0), jnp.ones((4, 3)), num_samples=8)
      >>> drawn.shape
      (8, 4, 3)
    """
    num_samples = as_count(num_samples, name="num_samples")
    chunk_size = as_count(chunk_size, name="chunk_size")
    arrays, function = flattened(apply_fn, args, draws=draws, batch_axis=batch_axis)
    drawn = sampler(function, key, arrays)
    forget = Reducer(
        init=lambda outputs: (),
        update=lambda state, outputs, valid: state,
        merge=lambda a, b: a,
        finalize=lambda state: {},
        stderr=lambda state: {},
    )
    zero = jnp.zeros((), jnp.int32)
    _, stacked = fold(
        drawn,
        forget,
        (),
        SamplingPlan(chunk_size, keep_samples=True),
        first=zero,
        size=num_samples,
        stop=zero + num_samples,
    )
    return stacked


@named_as("mc.function_draw")
def function_draw(
    apply_fn: Callable[..., PyTree], key: Key, /, *, batch_axis: BatchAxis = 0
) -> Callable[..., PyTree]:
    """One function, drawn once, and the same for all inputs and calls.

    For Thompson sampling, and for plots of samples as curves. Sample ``t`` of
    :func:`predict` with shared draws is the function drawn with ``fold_in(key, t)``.

    Args:
      apply_fn: ``(key, *args) -> outputs``, any tree of arrays.
      key: the key of the draw.
      batch_axis: the axis of the rows in the last argument, or a tuple with an axis or
        None per argument. Static.

    Returns:
      A deterministic function ``(*args) -> outputs``, which passes each row as a batch
      of one.

    References:
      Gal, Ghahramani, `Dropout as a Bayesian approximation
      <https://arxiv.org/abs/1506.02142>`_, ICML 2016 (section 5.4).

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> fn = lambda key, x: x * jax.random.normal(key, x.shape)
      >>> f = mc.function_draw(fn, jax.random.key(0))
      >>> x = jnp.ones((4, 3))
      >>> bool((f(x) == f(x)[:1]).all()), bool((f(x[:2]) == f(x)[:2]).all())
      (True, True)
    """
    check_callable(apply_fn, name="apply_fn")
    key = as_given(key)

    @named_as("mc.function_draw")
    def drawn(*args: Any) -> PyTree:
        return rowwise(apply_fn, args, batch_axis)(key)

    return drawn


@named_as("mc.joint")
def joint(
    apply_fn: Callable[..., PyTree],
    key: Key,
    /,
    *args: Any,
    num_samples: int,
    batch_axis: BatchAxis = 0,
    chunk_size: int = 1,
    ddof: int = 1,
) -> Joint:
    """The mean and covariance of a random function's outputs for several inputs.

    All inputs share each draw, without which the covariance of two inputs would be 0.
    It is not meant for functions that mix the rows of a batch: each row is passed
    alone.

    Args:
      apply_fn: ``(key, *args) -> outputs``, one array ``(N, *output)``. Static.
      key: a PRNG key; sample ``t`` uses ``fold_in(key, t)``.
      *args: the function's other arguments: weights, inputs.
      num_samples: the number of samples to draw. Static.
      batch_axis: the axis of the rows in the last argument, or a tuple with an axis or
        None per argument. Static.
      chunk_size: the number of samples that are drawn at a time. Static.
      ddof: sums are divided by the number of samples minus this. Static.

    Returns:
      The mean and the covariance over samples.

    Raises:
      ValueError: if no output depends on the key, or there are several outputs.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> fn = lambda key, x: x @ jax.random.normal(key, (2, 1))
      >>> mean, cov = mc.joint(fn, jax.random.key(0), jnp.eye(2), num_samples=1000)
      >>> mean.shape, cov.shape
      ((2, 1), (2, 2))
      >>> bool(jnp.allclose(cov, jnp.eye(2), atol=0.3))
      True
    """
    result = predict(
        apply_fn,
        key,
        *args,
        num_samples=num_samples,
        reducers=covariance(num_axes=None, ddof=ddof),
        draws="shared",
        batch_axis=batch_axis,
        chunk_size=chunk_size,
    )
    means = jax.tree.leaves(result.stats["mean"])
    if len(means) != 1:
        raise ValueError(f"apply_fn must return one array, got {len(means)}.")
    return Joint(means[0], *jax.tree.leaves(result.stats["covariance"]))
