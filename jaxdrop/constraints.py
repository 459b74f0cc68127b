"""Constraints and proximal steps as optax transformations, and masks for weight decay.

A constraint stands last in a chain: it changes the updates so that the parameters
meet it once the updates are applied. Updates that hold fewer digits than their
parameters, such as bfloat16 for float32, become wider.

- :func:`decay_mask`: marks the leaves that weight decay should shrink.
- :func:`max_norm`: limits the norm of each unit's weights.
- :func:`unit_norm`: fixes the norm of each unit's weights at 1.
- :func:`soft_threshold`: the proximal step of the l1 penalty, for sparse weights.
- :func:`group_soft_threshold`: the proximal step of the group lasso, for fewer units.
- :class:`ConstraintState`: the state of a constraint whose limit is a schedule.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdrop._errors import named, named_with_results, shown
from jaxdrop._norms import as_precise, moduli, scaled, split_norms, widened
from jaxdrop._paths import path_name
from jaxdrop._strengths import as_strength, is_schedule, scheduled_strength
from jaxdrop._typing import Array, ArrayLike, Path, PyTree, Scalar, Schedule, Where
from jaxdrop._weights import (
    Patterns,
    Selection,
    UnitAxes,
    check_patterns,
    per_layer,
    size_of,
    unit_axes,
    weight_mask,
    without_boxes,
)

__all__ = (
    "ConstraintState",
    "decay_mask",
    "group_soft_threshold",
    "max_norm",
    "soft_threshold",
    "unit_norm",
)

_Project = Callable[[str, Array, Array], Array]
"""From a path, the weights of one layer and a limit to the constrained weights."""


class ConstraintState(NamedTuple):
    """How often a constraint whose limit is a schedule has been applied."""

    num_updates: Array


@named
def decay_mask(
    params: PyTree,
    /,
    *,
    exclude: Patterns = (),
    include: Patterns = (),
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> PyTree:
    """Marks the leaves that weight decay should shrink: the weights of layers.

    Not marked are biases, scales of normalization, embeddings (``embedding``, ``wte``,
    ``pos_emb``), learned positions (``positional_encoding``, ``rel_pos_h``), learned
    tokens (``cls``, ``register_tokens``, ``probe``) and log-variances. They are
    recognized by name, so that a bias or a scale that a scan has stacked over layers is
    still not decayed. A leaf with fewer than two axes is not decayed under any name.
    :func:`jaxdrop.diagnostics.describe_mask` lists what a mask selects.

    A pattern is a glob that ignores case: without a slash it is compared with the
    leaf's own name (``"kernel"``), with a slash with the end of its path
    (``"head/*"``). In trees of objects the class that holds a leaf may stand for its
    attribute's name, which is how an Equinox ``LayerNorm`` is found in a list of
    layers.

    Args:
      params: parameters of Linen (dicts, frozen or not), NNX (``nnx.State``, modules),
        Equinox (modules, filtered or not), Haiku, or any tree of arrays.
      exclude: patterns of further leaves that are not decayed.
      include: patterns of leaves that are decayed in any case; they take precedence.
      stacked: patterns of leaves whose first axis counts layers, which then does not
        count as an axis of the weights; needed only for small leaves of unusual names.
      allow_empty: accept an argument of which no pattern matches a leaf. Of several
        patterns of one argument, which may serve several models, one is enough.

    Returns:
      A tree of Python bools, shaped like ``params``, with one bool for each variable
      of NNX. Every ``mask=`` of optax takes it, and this function itself.

    Raises:
      ValueError: if no pattern of an argument matches a leaf.

    References:
      Loshchilov, Hutter, `Decoupled weight decay regularization
      <https://arxiv.org/abs/1711.05101>`_, ICLR 2019 (what the mask is used for).

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from jaxdrop import constraints
      >>> layer = {"kernel": jnp.ones((12, 8, 8)), "bias": jnp.ones((12, 8))}
      >>> constraints.decay_mask({"layers": layer})
      {'layers': {'bias': False, 'kernel': True}}
      >>> optimizer = optax.adamw(1e-3, mask=constraints.decay_mask)
    """
    patterns = {"exclude": exclude, "include": include, "stacked": stacked}
    check_patterns(params, allow_empty=allow_empty, **patterns)
    return without_boxes(weight_mask(params, **patterns))


@named_with_results
def max_norm(
    max_value: ArrayLike | Schedule,
    *,
    axis: UnitAxes = None,
    where: Where | None = None,
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> optax.GradientTransformation:
    """Keeps the weights that lead into each unit in a ball of radius ``max_value``.

    Srivastava et al. combine it with dropout, with a radius of 2 to 4. A unit inside
    the ball gets its update unchanged, bit for bit; a unit outside is scaled back to
    the sphere, up to ``2**-24`` of each weight before (float32; bfloat16: ``2**-8``).

    Args:
      max_value: the largest Euclidean norm of a unit's weights: a number, a JAX scalar
        or a schedule of the number of updates. A JAX scalar, and whatever a schedule
        returns, gives NaN where it is negative or not finite.
      axis: the axes that one unit's weights span, or a function of path and leaf that
        returns them. None for Flax's layout: all axes but the last, and the first in
        the ``query``, ``key`` and ``value`` kernels of attention. Equinox, which keeps
        units first, needs ``axis=1`` for its linear layers.
      where: selects leaves by path and value; by default those that
        :func:`decay_mask` marks. For an embedding, which it does not mark:
        ``where=lambda path, leaf: path.endswith("embedding"), axis=1``.
      stacked: patterns (see :func:`decay_mask`) of leaves whose first axis counts
        layers; ``axis`` then counts the axes of one layer.
      allow_empty: do nothing, instead of raising, if no leaf is selected.

    Returns:
      An optax transformation, to be placed last in a chain.

    Raises:
      ValueError: if ``max_value`` is negative, an axis does not exist, no leaf is
        selected, or ``update`` is called without parameters.

    References:
      Srebro, Shraibman, `Rank, trace-norm and max-norm
      <https://doi.org/10.1007/11503415_37>`_, COLT 2005; Srivastava et al., `Dropout
      <https://jmlr.org/papers/v15/srivastava14a.html>`_, JMLR 2014, section 5.1.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from jaxdrop import constraints
      >>> params = {"kernel": jnp.ones((4, 3))}
      >>> optimizer = optax.chain(optax.sgd(1.0), constraints.max_norm(3.0))
      >>> state, grads = optimizer.init(params), {"kernel": jnp.full((4, 3), -10.0)}
      >>> updates, state = optimizer.update(grads, state, params)
      >>> kernel = optax.apply_updates(params, updates)["kernel"]
      >>> jnp.linalg.norm(kernel, axis=0).round(4).tolist()
      [3.0, 3.0, 3.0]
    """

    def project(name: str, weights: Array, limit: Array) -> Array:
        unit, length = split_norms(weights, unit_axes(axis, name, weights))
        outside = unit * length > limit
        own, divisor = scaled(weights, 1 / unit), jnp.where(outside, length, 1.0)
        return jnp.where(outside, scaled(own, limit / divisor), weights)

    leaves = Selection(where, stacked, allow_empty)
    return _constraint(project, max_value, leaves, name="max_value")


@named_with_results
def unit_norm(
    *,
    axis: UnitAxes = None,
    where: Where | None = None,
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> optax.GradientTransformation:
    """Keeps the weights that lead into each unit on the unit sphere.

    Units whose weights are all zero have no direction and stay zero.

    Args:
      axis: as in :func:`max_norm`.
      where: as in :func:`max_norm`.
      stacked: as in :func:`max_norm`.
      allow_empty: as in :func:`max_norm`.

    Returns:
      An optax transformation, to be placed last in a chain.

    Raises:
      ValueError: if an axis does not exist, no leaf is selected, or ``update`` is
        called without parameters.

    References:
      Salimans, Kingma, `Weight normalization <https://arxiv.org/abs/1602.07868>`_,
      NeurIPS 2016 (which learns the length that is fixed here).

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from jaxdrop import constraints
      >>> params = {"kernel": jnp.ones((4, 3))}
      >>> constraint = constraints.unit_norm()
      >>> zeros = {"kernel": jnp.zeros((4, 3))}
      >>> updates, _ = constraint.update(zeros, constraint.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"][0].tolist()
      [0.5, 0.5, 0.5]
    """

    def project(name: str, weights: Array, limit: Array) -> Array:
        unit, length = split_norms(weights, unit_axes(axis, name, weights))
        own = scaled(weights, 1 / unit)
        return scaled(own, limit / jnp.where(length > 0, length, 1.0))

    leaves = Selection(where, stacked, allow_empty)
    return _constraint(project, 1.0, leaves)


@named_with_results
def soft_threshold(
    threshold: Scalar | Schedule,
    *,
    where: Where | None = None,
    allow_empty: bool = False,
) -> optax.GradientTransformation:
    """Moves every weight towards zero by ``threshold``, and stops at exactly zero.

    The proximal step of :func:`jaxdrop.penalties.l1`. With gradient descent at a
    learning rate, and a threshold of that rate times a coefficient, it minimizes the
    loss plus the coefficient times the sum of moduli, and reaches true sparsity,
    which the gradient of the penalty does not.

    Args:
      threshold: how far a weight moves: a number, a JAX scalar or a schedule, as in
        :func:`max_norm`; for example a multiple of the learning rate's schedule.
      where: as in :func:`max_norm`.
      allow_empty: as in :func:`max_norm`.

    Returns:
      An optax transformation, to be placed last in a chain.

    Raises:
      ValueError: if ``threshold`` is negative, no leaf is selected, or ``update`` is
        called without parameters.

    References:
      Daubechies, Defrise, De Mol, `An iterative thresholding algorithm for linear
      inverse problems <https://arxiv.org/abs/math/0307152>`_, CPAM 2004.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from jaxdrop import constraints
      >>> params = {"kernel": jnp.array([[0.5, -0.125], [0.25, -1.0]])}
      >>> constraint = constraints.soft_threshold(0.25)
      >>> zeros = {"kernel": jnp.zeros((2, 2))}
      >>> updates, _ = constraint.update(zeros, constraint.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"].tolist()
      [[0.25, 0.0], [0.0, -0.75]]
    """

    def project(name: str, weights: Array, limit: Array) -> Array:
        del name
        if not jnp.iscomplexobj(weights):
            return weights - jnp.clip(weights, -limit, limit)
        length = moduli(weights)
        kept = ~(length <= limit)  # NaN stays NaN
        shorter = scaled(weights, 1.0 - limit / jnp.where(kept, length, 1.0))
        return jnp.where(kept, shorter, jnp.zeros_like(weights))

    leaves = Selection(where, (), allow_empty)
    return _constraint(project, threshold, leaves)


@named_with_results
def group_soft_threshold(
    threshold: Scalar | Schedule,
    *,
    axis: UnitAxes = None,
    where: Where | None = None,
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> optax.GradientTransformation:
    """Shortens the weights of each unit by ``threshold``, to zero if they are short.

    The proximal step of :func:`jaxdrop.penalties.group_lasso`: it removes whole units.
    As in that penalty a group of ``n`` weights is weighted by ``sqrt(n)``.

    Args:
      threshold: by how much a norm falls, before the factor ``sqrt(n)``: a number, a
        JAX scalar or a schedule, as in :func:`max_norm`.
      axis: the axes that one group spans, as in :func:`max_norm`; of a dense kernel,
        0 removes outputs and 1 removes inputs.
      where: as in :func:`max_norm`.
      stacked: as in :func:`max_norm`.
      allow_empty: as in :func:`max_norm`.

    Returns:
      An optax transformation, to be placed last in a chain.

    Raises:
      ValueError: if ``threshold`` is negative, an axis does not exist, no leaf is
        selected, or ``update`` is called without parameters.

    References:
      Yuan, Lin, `Model selection and estimation in regression with grouped variables
      <https://doi.org/10.1111/j.1467-9868.2005.00532.x>`_, JRSS B 2006.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from jaxdrop import constraints
      >>> params = {"kernel": jnp.array([[3.0, 0.1], [4.0, 0.1]])}
      >>> constraint = constraints.group_soft_threshold(1.0)
      >>> zeros = {"kernel": jnp.zeros((2, 2))}
      >>> updates, _ = constraint.update(zeros, constraint.init(params), params)
      >>> kernel = optax.apply_updates(params, updates)["kernel"]
      >>> kernel[:, 1].tolist()  # the second unit is gone
      [0.0, 0.0]
      >>> bool(jnp.isclose(jnp.linalg.norm(kernel[:, 0]), 5 - 2**0.5))
      True
    """

    def project(name: str, weights: Array, limit: Array) -> Array:
        axes = unit_axes(axis, name, weights)
        unit, length = split_norms(weights, axes)
        step = limit / unit * size_of(weights, axes) ** 0.5
        kept = ~(length <= step)  # NaN stays NaN
        shorter = scaled(weights, 1.0 - step / jnp.where(kept, length, 1.0))
        return jnp.where(kept, shorter, jnp.zeros_like(weights))

    return _constraint(project, threshold, Selection(where, stacked, allow_empty))


def _constraint(
    project: _Project,
    limit: ArrayLike | Schedule,
    leaves: Selection,
    *,
    name: str = "threshold",
) -> optax.GradientTransformation:
    """The transformation that ends every selected leaf where ``project`` puts it."""
    schedule = limit if callable(limit) and is_schedule(limit) else None
    if schedule is None:
        as_strength(limit, name=name)

    def init(params: PyTree) -> ConstraintState | optax.EmptyState:
        leaves.of(params)
        if schedule is not None:
            return ConstraintState(jnp.zeros((), jnp.int32))
        return optax.EmptyState()

    def update(
        updates: PyTree,
        state: ConstraintState | optax.EmptyState,
        params: PyTree | None = None,
    ) -> tuple[PyTree, ConstraintState | optax.EmptyState]:
        if params is None:
            raise ValueError("params is needed: call update(updates, state, params).")
        now = limit
        if schedule is not None:
            if not isinstance(state, ConstraintState):
                raise TypeError(
                    f"state must be a ConstraintState, as {name} is a schedule, got "
                    f"{shown(state)}; restore it into the state that init returns."
                )
            now = schedule(state.num_updates)
            state = ConstraintState(optax.safe_increment(state.num_updates))
        bound = scheduled_strength(now, name=name)

        def land(path: Path, update: Array, leaf: Array, selected: bool) -> Array:
            if update is None or not selected:
                return update
            key, wide, update = path_name(path), widened(leaf), jnp.asarray(update)
            goal = wide + update.astype(wide.dtype)
            most = bound.astype(wide.real.dtype)
            per_leaf = per_layer(lambda w: project(key, w, most), key, leaves.stacked)
            landed = jnp.where(jnp.isnan(most), jnp.nan, per_leaf(goal))
            same, moved = as_precise(update, leaf), landed - wide
            return jnp.where(landed == goal, same, moved.astype(same.dtype))

        updates = jax.tree_util.tree_map_with_path(
            land, updates, params, leaves.of(params), is_leaf=lambda leaf: leaf is None
        )
        return updates, state

    return optax.GradientTransformation(init, update)


def __dir__() -> list[str]:
    return sorted(__all__)
