"""Early stopping as an immutable pytree, for use under jit and scan and in checkpoints.

* :class:`EarlyStopping`: tracks a metric, keeps the best, and decides when to stop.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._checks import as_count, check_choice, check_switch
from jaxdrop._errors import named_methods
from jaxdrop._numbers import as_array, as_host, as_known, as_scalar
from jaxdrop._paths import path_name
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, ArrayLike, PyTree

__all__ = ["EarlyStopping"]

_FRESH: Any = object()
"""Placeholder of results before the first update; None is used in trees of specs."""

_NUMBERS = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
_MOST = 2**31 - 1  # the largest count of updates
_RESULTS = ("best", "best_step", "step", "num_bad", "improved", "should_stop")


@named_methods
@partial(
    jax.tree_util.register_dataclass,
    data_fields=["best_params", *_RESULTS],
    meta_fields=["patience", "mode", "min_delta", "relative", "warmup", "baseline"],
)
@dataclass(frozen=True, kw_only=True, eq=False)
class EarlyStopping:
    """Tracks a metric, keeps the best, and decides when to stop.

    Immutable: :meth:`update` returns a new object. The fields from ``patience`` to
    ``baseline`` are arguments, the others are results. A metric improves if it is
    better than the best by more than ``min_delta``; NaN is never an improvement and
    never becomes the best. Python and NumPy numbers are compared on the host in
    float64, JAX arrays in JAX's default float. Once ``should_stop`` is True the object
    no longer changes, so that a scan over more steps ends with the same result as a
    loop that stops.

    Args:
      patience: stop after this many updates in a row without improvement, at least 1.
        Static.
      mode: ``"min"`` or ``"max"``: whether lower or higher is better. Static.
      min_delta: an improvement must be larger than this. Static.
      relative: whether ``min_delta`` is a share of the absolute value of the best
        metric. Static.
      warmup: the number of first updates that are ignored: they neither count towards
        ``patience`` nor become the best. Static.
      best_params: the initial parameters, or None to keep none; after an improvement,
        the parameters of that update. Outside of jit, numbers from the host that are
        wider than JAX's stay there, as NumPy arrays of their dtype.
      baseline: a value that a metric must also beat by more than ``min_delta`` to reset
        ``num_bad``, or None. A training run that never beats it is stopped. It does not
        affect which metric is the best, and an update that improves on the best does
        not stop, as in Keras. Static.

    Attributes:
      best: the best metric, infinite at first: float32 (float64 in x64 mode), or
        float64 on the host for a number from the host that does not fit into float32.
      best_step: the number of the update of the best metric, from 0; -1 at first.
      step: the number of updates.
      num_bad: the number of updates in a row without an improvement, or without one on
        ``baseline``.
      improved: whether the last update was an improvement.
      should_stop: whether ``patience`` is exhausted; stays True.

    Raises:
      ValueError: if an argument is out of range.
      TypeError: if a count is not an integer, or a result is given alone.

    References:
      Prechelt, `Early stopping - but when?
      <https://doi.org/10.1007/978-3-642-35289-8_5>`_, 1998.

    Examples:
      >>> from jaxdrop.early_stopping import EarlyStopping
      >>> stopper = EarlyStopping(patience=2)
      >>> for loss in (1.0, 0.5, float("nan"), 0.7, 0.1):
      ...     stopper = stopper.update(loss)
      ...     if stopper.should_stop:
      ...         break
      >>> float(stopper.best), int(stopper.best_step), int(stopper.step)
      (0.5, 1, 4)
    """

    patience: int
    mode: str = "min"
    min_delta: float = 0.0
    relative: bool = False
    warmup: int = 0
    best_params: PyTree = None
    baseline: float | None = None
    best: Array | np.ndarray = _FRESH
    best_step: Array = _FRESH
    step: Array = _FRESH
    num_bad: Array = _FRESH
    improved: Array = _FRESH
    should_stop: Array = _FRESH

    def __post_init__(self) -> None:
        given = [n for n in _RESULTS if getattr(self, n) is not _FRESH]
        if given and len(given) < len(_RESULTS):
            raise TypeError(
                f"{', '.join(given)} is a result of updates and cannot be given. For a "
                "metric to beat from the start use baseline=."
            )
        if given and self._is_checked():  # made from another, or from its leaves
            return
        self._check_settings()
        if given:
            return
        copied = jax.tree.map(_copied, self.best_params)
        object.__setattr__(self, "best_params", copied)
        worst = math.inf if self.mode == "min" else -math.inf
        for name, value in {
            "best": jnp.full((), worst, jnp.result_type(float)),
            "best_step": jnp.full((), -1, jnp.int32),
            "step": jnp.zeros((), jnp.int32),
            "num_bad": jnp.zeros((), jnp.int32),
            "improved": jnp.zeros((), bool),
            "should_stop": jnp.zeros((), bool),
        }.items():
            object.__setattr__(self, name, value)

    def _is_checked(self) -> bool:
        """Whether settings are as their check leaves them, which it takes 60 us to do.

        Every call of a compiled function makes a new object.
        """
        counts, margin, goal = (
            (self.patience, self.warmup),
            self.min_delta,
            self.baseline,
        )
        return (
            all(type(count) is int for count in counts)
            and self.patience >= 1
            and self.warmup >= 0
            and self.mode in ("min", "max")
            and (type(margin) is float and 0 <= margin < math.inf)
            and type(self.relative) is bool
            and (goal is None or (type(goal) is float and goal == goal))
        )

    def _check_settings(self) -> None:
        """Raises for settings out of range, and stores the others as Python's own."""
        patience = as_count(self.patience, name="patience", least=None, most=None)
        if patience < 1:
            raise ValueError(
                "patience must be at least 1 (stop at the first update that does not "
                f"improve), got {self.patience}."
            )
        check_choice(self.mode, ("min", "max"), name="mode")
        relative = check_switch(self.relative, name="relative")
        object.__setattr__(self, "relative", relative)
        for name in ("min_delta", "baseline"):
            if getattr(self, name) is not None:
                known = as_known(getattr(self, name), name=name)
                object.__setattr__(self, name, known)
        as_strength(self.min_delta, name="min_delta")
        if self.baseline is not None and math.isnan(self.baseline):
            raise ValueError("baseline must be a number, got nan.")
        object.__setattr__(self, "patience", patience)
        warmup = as_count(self.warmup, name="warmup", least=0, most=None)
        object.__setattr__(self, "warmup", warmup)

    def update(self, metric: ArrayLike, params: PyTree = None) -> "EarlyStopping":
        """Returns the state after one more metric.

        Args:
          metric: a scalar; may be traced.
          params: the parameters that the metric belongs to; required if, and only if,
            ``best_params`` were given. Leaves that are neither numbers nor arrays are
            always replaced by the new ones.

        Returns:
          A new object of the same structure.

        Raises:
          ValueError: if ``metric`` is not a real scalar, or ``params`` are missing,
            unexpected, or of another structure or shape.
        """
        metric, best = self._as_comparable(metric)
        self._check_params(params)
        # Python numbers, for example after a checkpoint in JSON
        step, num_bad = jnp.asarray(self.step), jnp.asarray(self.num_bad)
        should_stop = jnp.asarray(self.should_stop)
        seen = (step >= _within_int32(self.warmup)) & ~should_stop
        improved = seen & self._is_better(metric, best)
        good = improved
        if self.baseline is not None:
            good = improved & self._is_better(metric, self.baseline)
        num_bad = jnp.where(good, 0, _counted(num_bad, seen))
        out_of_patience = num_bad >= _within_int32(self.patience)
        return dataclasses.replace(
            self,
            best_params=_choose(improved, params, self.best_params),
            best=_either(improved, metric, best),
            best_step=jnp.where(improved, step, self.best_step),
            step=_counted(step, ~should_stop),
            num_bad=num_bad,
            improved=improved,
            should_stop=should_stop | (out_of_patience & ~improved),
        )

    def _as_comparable(self, metric: ArrayLike) -> tuple[Any, Any]:
        """The metric and the best, in float64 on the host or in JAX's default float.

        A loss that overflows float32 has diverged, which must not raise an error.
        """
        try:
            number = as_scalar(metric, name="metric")
        except TypeError as error:
            raise ValueError(str(error)) from None
        state = (self.best, self.step, self.should_stop)
        on_host = not isinstance(number, jax.Array) and not np.ndim(self.best)
        if on_host and all(map(_is_readable, state)):
            return np.asarray(number), np.asarray(self.best, np.float64)
        dtype = jnp.result_type(float)
        with np.errstate(over="ignore"):
            return jnp.asarray(number).astype(dtype), jnp.asarray(self.best, dtype)

    def _is_better(self, metric: Any, other: Any) -> Any:
        """Whether a metric is better; comparisons with NaN are False."""
        margin: Any = self.min_delta
        with np.errstate(over="ignore"):
            if self.relative:
                xp: Any = np if isinstance(metric, np.ndarray) else jnp
                margin = margin * xp.where(xp.isfinite(other), xp.abs(other), 0)
            if self.mode == "min":
                return metric < other - margin
            return metric > other + margin

    def _check_params(self, params: PyTree) -> None:
        """Raises unless parameters have the tree and the shapes of ``best_params``."""
        expected: Any = jax.tree.structure(self.best_params)
        given: Any = jax.tree.structure(params)
        if expected != given:
            raise ValueError(
                "update takes parameters like the best_params it was made with, "
                f"{expected}, got {given}."
            )
        for (path, old), new in zip(
            jax.tree.leaves_with_path(self.best_params),
            jax.tree.leaves(params),
            strict=True,
        ):
            if np.shape(old) != np.shape(new):
                raise ValueError(
                    "update takes parameters of the shapes of best_params, "
                    f"{np.shape(old)} at {path_name(path)!r}, got {np.shape(new)}."
                )


def _is_readable(value: Any) -> bool:
    """Whether the host can read a value here."""
    if not isinstance(value, jax.Array):
        return True
    if isinstance(value, jax.core.Tracer):
        return False
    return value.is_fully_addressable or value.is_fully_replicated


def _either(improved: Array, metric: Any, best: Any) -> Array | np.ndarray:
    """The new best metric, on the host only if it does not fit into a JAX float."""
    if not isinstance(best, np.ndarray):
        return jnp.where(improved, metric, best)
    kept = metric if improved else best
    with np.errstate(over="ignore"):
        held = kept.astype(jnp.result_type(float))
    return kept if held < kept or held > kept else jnp.asarray(held)


def _within_int32(count: int) -> int:
    """A count of updates, limited to the largest int32."""
    return min(count, _MOST)


def _counted(count: Array, one_more: Array) -> Array:
    """A count of updates after another one; the largest int32 stays."""
    return count + (one_more & (count < _MOST)).astype(jnp.int32)


def _copied(leaf: Any) -> Any:
    """A parameter that does not change if the caller's array does."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _held(leaf: Any) -> Any:
    """Returns a parameter, or raises for a host number that would overflow."""
    if isinstance(leaf, jax.Array):
        return leaf
    held = as_array(leaf, name="best_params")
    whole = isinstance(leaf, int) or getattr(leaf, "dtype", np.dtype("O")).kind in "iu"
    if whole and jnp.issubdtype(held.dtype, jnp.floating):
        raise ValueError(
            f"best_params holds {leaf}, and {jnp.result_type(int)} is too narrow for "
            "it; keep it outside, or enable x64."
        )
    return held


def _is_host(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.generic | int | float | complex)


def _is_wide(leaf: Any) -> bool:
    """Whether a parameter is a number from the host of more digits than JAX holds."""
    if not _is_host(leaf):
        return False
    dtype = np.asarray(leaf).dtype
    known = dtype in (np.int64, np.uint64, np.float64, np.complex128)
    return known and jax.dtypes.canonicalize_dtype(dtype) != dtype


def _cast(array: Any, dtype: Any) -> Any:
    """A parameter in the dtype of the one that it replaces; floats may be rounded."""
    if not _is_held_by(dtype, array):
        raise ValueError(
            f"best_params holds {dtype} for a parameter that is {array.dtype} now; "
            "give best_params of that dtype."
        )
    return array if array.dtype == dtype else array.astype(dtype)


def _is_held_by(dtype: Any, array: Any) -> bool:
    """Whether a dtype holds numbers of the kind and the size of those of an array.

    The size of numbers on a device is not read, and is that of their integer dtype.
    """
    if any(jnp.issubdtype(d, jax.dtypes.prng_key) for d in (dtype, array.dtype)):
        return bool(array.dtype == dtype)
    before, now = _kind(dtype), _kind(array.dtype)
    if now == 0 or now > before:
        return now <= before
    known = isinstance(array, np.ndarray) and array.size > 0
    if _NUMBERS[before] is jnp.integer:
        most, held = jnp.iinfo(array.dtype), jnp.iinfo(dtype)
        low, high = (array.min(), array.max()) if known else (most.min, most.max)
        return int(held.min) <= int(low) and int(high) <= int(held.max)
    sizes = np.abs(array[np.isfinite(array)]) if known else np.zeros(1)
    return bool((sizes <= float(jnp.finfo(dtype).max)).all())


def _kind(dtype: Any) -> int:
    """The place of a dtype among those each of which holds the ones before it."""
    return next(i for i, kind in enumerate(_NUMBERS) if jnp.issubdtype(dtype, kind))


def _choose(improved: Array, new: PyTree, old: PyTree) -> PyTree:
    """``new`` if there was an improvement, else ``old``, leaf by leaf."""

    def choose(new: Any, old: Any) -> Any:
        if not (hasattr(new, "dtype") or isinstance(new, Number)):
            return new
        if _is_wide(old) and _is_host(new) and _is_readable(improved):
            found, before = as_host(new, "best_params"), np.asarray(old)
            if found.dtype != object:
                found = _cast(found, before.dtype)
                return np.array(found if improved else before)  # arrays can change
        new, old = _held(new), _held(old)
        return jnp.where(improved, _cast(new, old.dtype), old)

    return jax.tree.map(choose, new, old)


def __dir__() -> list[str]:
    return sorted(__all__)
