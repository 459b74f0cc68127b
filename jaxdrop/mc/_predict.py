"""Monte-Carlo prediction: statistics of many passes of a random function."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxdrop._checks import as_count, check_choice, check_switch
from jaxdrop._errors import named_as
from jaxdrop._loops import as_carry
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, ArrayLike, Key, PyTree
from jaxdrop.mc._categorical import categorical
from jaxdrop.mc._forward_only import forward_only
from jaxdrop.mc._gaussian_mixture import gaussian_mixture
from jaxdrop.mc._moments import moments
from jaxdrop.mc._reducer import Reducer, Stats, along, combined
from jaxdrop.mc._rows import BatchAxis
from jaxdrop.mc._sampling import Sampler, SamplingPlan, flattened, fold, sampler

_PRESETS = ("auto", "classification", "regression")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """The state of sampling, from which it can be continued.

    Attributes:
      count: the number of samples.
      sums: the state of the reducers.
    """

    count: Array
    sums: PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prediction:
    """Statistics of samples.

    Attributes:
      stats: the statistics by name; with several reducers, a dict for each of them.
      stderr: the Monte-Carlo standard errors of some of them, under the same names: the
        standard deviation over repetitions with other samples.
      count: the number of samples, including those of earlier calls.
      converged: whether the tolerance was reached; None without a tolerance.
      state: the state from which ``predict`` can continue.
      samples: the samples of this call, ``(num_samples, *output)``, if
        ``keep_samples`` is set. Entries after the last sample drawn are NaN, or 0 for
        integers.
    """

    stats: Stats
    stderr: Stats
    count: Array
    converged: Array | None
    state: State
    samples: PyTree | None


@named_as("mc.predict")
def predict(
    apply_fn: Callable[..., PyTree],
    key: Key,
    /,
    *args: Any,
    num_samples: int,
    reducers: str | Reducer | Mapping[str, Reducer] = "auto",
    draws: str = "independent",
    batch_axis: BatchAxis = 0,
    chunk_size: int = 1,
    mesh: Mesh | None = None,
    axis_name: str | None = None,
    tol: ArrayLike | None = None,
    tol_stat: str = "mean",
    min_samples: int = 16,
    check_every: int = 16,
    state: State | None = None,
    keep_samples: bool = False,
) -> Prediction:
    """Samples a random function, and returns statistics of the samples.

    Sample ``t`` is ``apply_fn(fold_in(key, t), *args)`` for any chunk size and number
    of devices, and also if sampling was stopped and resumed. The part of the function
    that does not depend on the key is run once. The memory is that of one chunk.

    The function is not jitted, except on a mesh: call it inside ``jax.jit``, with the
    weights among the arguments, so that one program serves all weights::

        @jax.jit
        def uncertainty(key, params, x):
            return mc.predict(apply_fn, key, params, x, num_samples=50)

    Args:
      apply_fn: ``(key, *args) -> outputs``, any tree of arrays. The key must be its
        only source of randomness, and dropout must be active. Static.
      key: a PRNG key. For keys whose bits change under ``vmap`` (``rbg``) the samples
        of a chunk are drawn one after the other.
      *args: the function's other arguments: weights, inputs. Arrays in them are
        traced, other leaves are passed unchanged.
      num_samples: the number of samples to draw; with a tolerance, the largest. Static.
      reducers: the statistics. ``"auto"``: :func:`moments` of every output;
        ``"classification"``: :func:`categorical`, of logits; ``"regression"``:
        :func:`gaussian_mixture` of a pair (mean, variance), or :func:`moments` of an
        array of means; a reducer; or a dict of reducers by name. Static.
      draws: ``"independent"``: the function is called on the whole batch, and decides
        whether rows have separate masks. ``"shared"``: each row is passed as a batch of
        one with the key of the sample, so that the same function is evaluated at all
        rows of all batches; for joint distributions of rows. Static.
      batch_axis: with shared draws, the axis of the rows in the last argument, or a
        tuple with an axis or None for each argument. Static.
      chunk_size: the number of samples that are drawn at a time. Larger is faster, as
        long as they fit into memory. Static.
      mesh: devices over which the samples are distributed; other axes of the mesh
        remain for the data. Static.
      axis_name: the axis of the mesh for the samples. Without a mesh, an axis over
        which a surrounding ``jax.shard_map`` maps. Static.
      tol: stop as soon as all standard errors of ``tol_stat`` are at most this. It
        cannot be combined with reverse-mode gradients.
      tol_stat: a statistic with a standard error; ``"name/stat"`` with several
        reducers. Static.
      min_samples: the least number of samples before stopping. Static.
      check_every: the number of samples between checks of the error. Static.
      state: the state of an earlier prediction with the same key, to continue with its
        next sample.
      keep_samples: return the samples as well, in memory that grows with their number.
        Static.

    Returns:
      The statistics, their standard errors, and the state from which to continue.

    Raises:
      ValueError: if no output depends on the key, or an argument does not fit.
      TypeError: if a count is not an integer, or ``key`` is not a PRNG key.

    References:
      Gal, Ghahramani, `Dropout as a Bayesian approximation: representing model
      uncertainty in deep learning <https://arxiv.org/abs/1506.02142>`_, ICML 2016.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from jaxdrop import mc
      >>> def apply_fn(key, weights, x):  # a linear model with dropout on its inputs
      ...     kept = jax.random.bernoulli(key, 0.5, x.shape)
      ...     return jnp.where(kept, 2 * x, 0) @ weights
      >>> key, x, weights = jax.random.key(0), jnp.ones((4, 3)), jnp.ones((3, 2))
      >>> result = mc.predict(apply_fn, key, weights, x, num_samples=64)
      >>> result.stats["mean"].shape, result.stats["var"].shape, int(result.count)
      ((4, 2), (4, 2), 64)
      >>> error = jnp.abs(result.stats["mean"] - x @ weights)
      >>> bool((error < 5 * result.stderr["mean"]).all())
      True
    """
    goal = _Goal(
        as_count(num_samples, name="num_samples"),
        as_count(min_samples, name="min_samples"),
        as_count(check_every, name="check_every"),
        tol_stat,
    )
    chunk_size = as_count(chunk_size, name="chunk_size")
    if mesh is not None:
        axis_name = _axis_of(mesh, axis_name)
    if tol is not None:
        tol = as_strength(tol, name="tol")
    keep_samples = check_switch(keep_samples, name="keep_samples")
    plan = SamplingPlan(chunk_size, keep_samples, axis_name)

    arrays, function = flattened(apply_fn, args, draws=draws, batch_axis=batch_axis)
    run = partial(_run, function, reducers, plan, goal)
    given = (key, arrays, state, None if tol is None else jnp.asarray(tol, jnp.float32))
    return run(*given) if mesh is None else _on_mesh(run, mesh, plan)(*given)


class _Goal(NamedTuple):
    """The arguments that decide when sampling stops."""

    num_samples: int
    min_samples: int
    check_every: int
    tol_stat: str


def _run(
    function: Callable[..., PyTree],
    reducers: str | Reducer | Mapping[str, Reducer],
    plan: SamplingPlan,
    goal: _Goal,
    key: Key,
    arrays: Sequence[Array],
    state: State | None,
    tol: Array | None,
) -> Prediction:
    """Predicts on one device; on a mesh, on each of its devices."""
    drawn = sampler(function, key, arrays)
    reducer = _reducer(reducers, drawn.shapes)
    state = _started(reducer, drawn, state)
    step = partial(fold, drawn, reducer)
    if tol is None:
        return _draw_all(step, reducer, state, plan, goal)
    return _draw_until(step, reducer, state, plan, goal, tol, drawn.shapes)


def _on_mesh(
    run: Callable[..., Prediction], mesh: Mesh, plan: SamplingPlan
) -> Callable[..., Prediction]:
    """Runs a prediction on every device along the plan's axis of a mesh."""
    everywhere = PartitionSpec()
    spread = jax.shard_map(
        run,
        mesh=mesh,
        in_specs=everywhere,
        out_specs=everywhere,
        axis_names={plan.axis_name},
        check_vma=False,
    )
    # Other axes of the mesh can be left to the data under jit only.
    jitted: Callable[..., Prediction] = jax.jit(spread)
    return jitted


def _draw_all(
    step: Callable[..., tuple[PyTree, PyTree]],
    reducer: Reducer,
    state: State,
    plan: SamplingPlan,
    goal: _Goal,
) -> Prediction:
    """Draws a fixed number of samples."""
    stop = state.count + goal.num_samples
    sums, samples = step(
        state.sums, plan, first=state.count, size=goal.num_samples, stop=stop
    )
    return _prediction(reducer, State(stop, sums), None, samples)


def _draw_until(
    step: Callable[..., tuple[PyTree, PyTree]],
    reducer: Reducer,
    state: State,
    plan: SamplingPlan,
    goal: _Goal,
    tol: Array,
    shapes: PyTree,
) -> Prediction:
    """Draws samples until the largest standard error is at most the tolerance."""
    begin, stop = state.count, state.count + goal.num_samples
    size = min(goal.check_every, goal.num_samples)
    room = -(-goal.num_samples // size) * size
    unseen = lambda s: jnp.full((room, *s.shape), _blank(s.dtype), s.dtype)
    buffer = jax.tree.map(unseen, shapes) if plan.keep_samples else None

    def unfinished(carry: tuple[State, PyTree]) -> Array:
        state, _ = carry
        fine = _largest_error(reducer, state, goal.tol_stat) <= tol
        return (state.count < stop) & ~(fine & (state.count >= goal.min_samples))

    def more(carry: tuple[State, PyTree]) -> tuple[State, PyTree]:
        state, buffer = carry
        sums, samples = step(state.sums, plan, first=state.count, size=size, stop=stop)
        write = lambda kept, new: lax.dynamic_update_slice_in_dim(
            kept, new, state.count - begin, 0
        )
        count = jnp.minimum(state.count + size, stop)
        return State(count, sums), jax.tree.map(write, buffer, samples)

    start = as_carry(more, (state, buffer))
    state, samples = lax.while_loop(unfinished, more, start)
    drawn = state.count - begin
    seen = jnp.arange(room, dtype=jnp.int32) < drawn
    kept = lambda x: jnp.where(
        along(seen, x), x, jnp.asarray(_blank(x.dtype), x.dtype)
    )[: goal.num_samples]
    converged = _largest_error(reducer, state, goal.tol_stat) <= tol
    done = _prediction(reducer, state, converged, jax.tree.map(kept, samples))
    guarded: Prediction = jax.tree.map(forward_only, done)
    return guarded


def _prediction(
    reducer: Reducer, state: State, converged: Array | None, samples: PyTree
) -> Prediction:
    return Prediction(
        stats=reducer.finalize(state.sums),
        stderr=reducer.stderr(state.sums),
        count=state.count,
        converged=converged,
        state=state,
        samples=samples,
    )


def _started(reducer: Reducer, drawn: Sampler, state: State | None) -> State:
    """The state to continue from, which must have the same reducers and outputs."""
    fresh = State(jnp.zeros((), jnp.int32), reducer.init(drawn.shapes))
    if state is None:
        return fresh
    if _kind(state) != _kind(fresh):
        raise ValueError(
            "state is of other reducers or outputs than this prediction; it must come "
            "from mc.predict with the same function and reducers."
        )
    return state


def _kind(state: State) -> PyTree:
    return jax.tree.map(lambda x: (np.shape(x), str(getattr(x, "dtype", x))), state)


def _reducer(
    reducers: str | Reducer | Mapping[str, Reducer], shapes: PyTree
) -> Reducer:
    if isinstance(reducers, Reducer):
        return reducers
    if isinstance(reducers, Mapping):
        return combined(reducers)
    check_choice(reducers, _PRESETS, name="reducers")
    if reducers == "classification":
        return categorical()
    if reducers == "regression" and not hasattr(shapes, "shape"):
        return gaussian_mixture()
    return moments()


def _largest_error(reducer: Reducer, state: State, tol_stat: str) -> Array:
    """The largest standard error of a statistic; NaN if it is not known yet."""
    errors: Any = reducer.stderr(state.sums)
    known = sorted(_names(errors))
    if not isinstance(tol_stat, str) or tol_stat not in known:
        raise ValueError(
            f"tol_stat must name a statistic with a standard error, one of {known}, "
            f"got {tol_stat!r}."
        )
    for name in tol_stat.split("/"):
        errors = errors[name]
    largest = [error.max(initial=0) for error in jax.tree.leaves(errors)]
    return jnp.stack([error.astype(jnp.float32) for error in largest]).max()


def _names(errors: Stats) -> Iterator[str]:
    """Names of statistics: ``"mean"``, or ``"name/mean"`` with several reducers."""
    for name, error in errors.items():
        yield name
        if isinstance(error, dict):
            yield from (f"{name}/{inner}" for inner in error)


def _axis_of(mesh: Mesh, axis_name: str | None) -> str:
    if axis_name is None and len(mesh.axis_names) == 1:
        axis_name = mesh.axis_names[0]
    if axis_name is None or axis_name not in mesh.axis_names:
        raise ValueError(
            f"axis_name must be an axis of the mesh, {mesh.axis_names}, got "
            f"{axis_name!r}."
        )
    return axis_name


def _blank(dtype: Any) -> float:
    return float("nan") if jnp.issubdtype(dtype, jnp.floating) else 0
