"""Drawing samples by number: in chunks, on one device or many."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop import _programs
from jaxdrop._checks import check_callable, check_choice, require_key
from jaxdrop._loops import as_carry
from jaxdrop._numbers import as_array, is_numeric
from jaxdrop._typing import Array, Key, PyTree
from jaxdrop.mc._reducer import Reducer, along
from jaxdrop.mc._rows import BatchAxis, check_batch_axis, rowwise
from jaxdrop.mc._trunk import is_stochastic, split


class Sampler(NamedTuple):
    """A function of the number of a sample, whose deterministic part has been run.

    Attributes:
      sample: returns the outputs of the sample with a number.
      shapes: the shapes and dtypes of the outputs.
      one_by_one: whether the bits of the key's generator change under ``vmap``.
    """

    sample: Callable[[Array], PyTree]
    shapes: PyTree
    one_by_one: bool

    def draw(self, numbers: Array, /) -> PyTree:
        """The outputs of several samples, stacked along a new first axis."""
        if numbers.size == 1:
            return jax.tree.map(lambda x: x[None], self.sample(numbers[0]))
        if self.one_by_one:
            return lax.map(self.sample, numbers)
        return jax.vmap(self.sample)(numbers)


def flattened(
    apply_fn: Callable[..., PyTree],
    args: tuple[Any, ...],
    /,
    *,
    draws: str,
    batch_axis: BatchAxis,
) -> tuple[list[Array], Callable[..., PyTree]]:
    """The arrays in the arguments, and the function of a key and these arrays.

    Leaves that are not arrays, such as flags and activation functions, are not traced.
    """
    check_callable(apply_fn, name="apply_fn")
    apply_fn = _with_checked_outputs(apply_fn)
    check_choice(draws, ("independent", "shared"), name="draws")
    check_batch_axis(batch_axis)
    leaves, tree = jax.tree.flatten(args)
    is_array = [_is_array(x) for x in leaves]
    places = [place for place, flag in enumerate(is_array) if flag]

    def function(key: Key, *arrays: Array) -> PyTree:
        parts = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            parts[place] = array
        args: tuple[Any, ...] = jax.tree.unflatten(tree, parts)
        if draws == "shared":
            return rowwise(apply_fn, args, batch_axis)(key)
        return apply_fn(key, *args)

    return [leaves[place] for place in places], function


def _with_checked_outputs(apply_fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """``apply_fn``, with numbers from the host among its outputs as JAX reads them.

    JAX itself would let a NumPy integer wrap, and refuse a Python integer by no name.
    """

    def entered(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return leaf
        return as_array(leaf, name="the output of apply_fn")

    return lambda *args: jax.tree.map(entered, apply_fn(*args))


def _is_array(leaf: Any) -> bool:
    """True for what can be traced: not for text, dates or objects of NumPy."""
    if isinstance(leaf, np.ndarray | np.generic):
        return is_numeric(leaf.dtype)
    return isinstance(leaf, jax.Array)


def sampler(
    function: Callable[..., PyTree],
    key: Key,
    arrays: Sequence[Array],
    /,
) -> Sampler:
    """Traces a function once, checks that it is random, and runs its trunk.

    Args:
      function: ``(key, *arrays) -> outputs``.
      key: the key from which the keys of the samples are derived.
      arrays: its other arguments.
    """
    key = as_given(key)
    program, shapes = _programs.traced(function, key, *arrays)
    if not is_stochastic(program):
        raise ValueError(
            "no output depends on the key, so that all samples would be equal. Is "
            "dropout in evaluation mode, its rate 0, or the key not used?"
        )
    trunk, head = split(program)
    kept = _programs.run(trunk, *arrays)
    leaves, outputs = jax.tree.flatten(shapes)

    def sample(number: Array) -> PyTree:
        flat = _programs.run(head, jax.random.fold_in(key, number), *kept)
        arrays = [
            # a constant result may be a Python number in the program
            out if isinstance(out, jax.Array) else jnp.asarray(out, leaf.dtype)
            for out, leaf in zip(flat, leaves, strict=True)
        ]
        return jax.tree.unflatten(outputs, arrays)

    return Sampler(sample, shapes, "rbg" in str(jax.random.key_impl(key)))


class SamplingPlan(NamedTuple):
    """How samples are drawn.

    Attributes:
      chunk_size: the number of samples that are drawn, and held in memory, at a time.
      keep_samples: whether to return the samples as well.
      axis_name: the mesh axis over which samples are distributed, or None.
    """

    chunk_size: int
    keep_samples: bool = False
    axis_name: Any = None


def fold(
    drawn: Sampler,
    reducer: Reducer,
    sums: PyTree,
    plan: SamplingPlan,
    /,
    *,
    first: Array,
    size: int,
    stop: Array,
) -> tuple[PyTree, PyTree]:
    """Draws and reduces samples ``first`` to ``first + size``, none from ``stop`` on.

    Args:
      drawn: the samples.
      reducer: the reducer of the samples.
      sums: the state of the reducer so far.
      plan: how to draw the samples.
      first: the number of the first sample.
      size: the largest number of samples. Static.
      stop: the number of the first sample that is not drawn.

    Returns:
      The new state, and the ``(size, ...)`` samples or None.
    """
    stop = jnp.minimum(first + size, stop)
    if plan.axis_name is None:
        return _fold_here(drawn, reducer, sums, plan, first, size, stop)
    return _fold_on_devices(drawn, reducer, sums, plan, first, size, stop)


def _fold_here(
    drawn: Sampler,
    reducer: Reducer,
    sums: PyTree,
    plan: SamplingPlan,
    first: Array,
    size: int,
    stop: Array,
) -> tuple[PyTree, PyTree]:
    """Draws and reduces samples in chunks on one device."""
    rounds = -(-size // plan.chunk_size)
    chunk = -(-size // rounds)  # equal chunks, so that the last has little padding

    def step(sums: PyTree, turn: Array) -> tuple[PyTree, PyTree]:
        numbers = first + turn * chunk + jnp.arange(chunk, dtype=jnp.int32)
        outputs = drawn.draw(numbers)
        sums = reducer.update(sums, outputs, numbers < stop)
        return sums, outputs if plan.keep_samples else None

    sums = as_carry(lambda sums: step(sums, jnp.zeros((), jnp.int32))[0], sums)
    sums, samples = lax.scan(step, sums, jnp.arange(rounds, dtype=jnp.int32))
    flat = lambda x: x.reshape(rounds * chunk, *x.shape[2:])[:size]
    return sums, jax.tree.map(flat, samples)


def _fold_on_devices(
    drawn: Sampler,
    reducer: Reducer,
    sums: PyTree,
    plan: SamplingPlan,
    first: Array,
    size: int,
    stop: Array,
) -> tuple[PyTree, PyTree]:
    """Draws an equal share of samples on each device; all devices merge all states."""
    axis = plan.axis_name
    try:
        devices, here = lax.axis_size(axis), lax.axis_index(axis)
    except (NameError, TypeError, ValueError):
        raise ValueError(
            f"axis_name {axis!r} is not an axis that is mapped here; call it inside "
            "jax.shard_map over a mesh with that axis, or pass mesh=."
        ) from None
    share = -(-size // devices)
    none = reducer.init(drawn.shapes)
    local, samples = _fold_here(
        drawn,
        reducer,
        jax.tree.map(lambda x: lax.pcast(x, axis, to="varying"), none),
        plan,
        first + here * share,
        share,
        jnp.minimum(first + (here + 1) * share, stop),
    )

    def gathered(x: Array) -> Array:
        slots = jnp.arange(devices, dtype=jnp.int32)
        own = jnp.where(along(slots == here, x[None]), x[None], 0)
        everywhere: Array = lax.psum(own, axis)
        return everywhere

    states = jax.tree.map(gathered, local)
    first_state = jax.tree.map(lambda x: x[0], states)
    sums = as_carry(lambda sums: reducer.merge(sums, first_state), sums)
    sums, _ = lax.scan(
        lambda merged, one: (reducer.merge(merged, one), None), sums, states
    )
    flat = lambda x: gathered(x).reshape(devices * share, *x.shape[1:])[:size]
    return sums, jax.tree.map(flat, samples)


def as_given(key: Key) -> Key:
    """A checked key, typed or raw like the given one."""
    typed = require_key(key, instead="")
    raw = not jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(typed) if raw else typed
