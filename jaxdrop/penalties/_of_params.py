"""Penalties of parameters, leaf by leaf."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdrop._errors import named
from jaxdrop._norms import moduli, norms, squared, widened
from jaxdrop._numbers import as_array, as_real, relative
from jaxdrop._paths import map_with_name
from jaxdrop._strengths import as_strength
from jaxdrop._typing import Array, PyTree, Scalar, Where
from jaxdrop._weights import Patterns, Selection, UnitAxes, size_of, unit_axes
from jaxdrop.penalties._sums import over_leaves, scaled_sum


@named
def l1(
    params: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    where: Where | None = None,
    allow_empty: bool = False,
) -> Array:
    """Adds up the absolute values of all weights: ``coefficient * sum(|w|)``.

    Its subgradient at 0 is 0, and gradient descent makes weights small, but rarely
    exactly 0; for exact zeros use :func:`jaxdrop.constraints.soft_threshold`.

    Args:
      params: any tree of arrays; for NNX ``nnx.state(model, nnx.Param)``, since a
        module also holds statistics. Leaves other than arrays of floating or complex
        numbers are ignored, among them Python numbers, which are settings and not
        weights.
      coefficient: a number of at least 0, or a JAX scalar, traced or not, which gives
        NaN where it is negative or not finite.
      where: selects leaves by path and value, for example
        ``lambda path, leaf: path.endswith("kernel")``; by default all.
      allow_empty: return 0, instead of raising, if no leaf is selected.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, or no leaf is selected.

    References:
      Tibshirani, `Regression shrinkage and selection via the lasso
      <https://doi.org/10.1111/j.2517-6161.1996.tb02080.x>`_, JRSS B 1996.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([4.0])}
      >>> float(penalties.l1(params))
      7.0
      >>> float(penalties.l1(params, where=lambda path, leaf: path == "kernel"))
      3.0
    """
    return over_leaves(
        lambda _, leaf: jnp.sum(moduli(leaf)),
        params,
        Selection(where, (), allow_empty, every=True),
        coefficient=coefficient,
    )


@named
def l2(
    params: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    where: Where | None = None,
    allow_empty: bool = False,
) -> Array:
    """Adds up the squares of all weights: ``coefficient * sum(w**2)``, without a half.

    As in Keras, and in the formula of Gal and Ghahramani, there is no factor of one
    half; the gradient is ``2 * coefficient * w``. With plain gradient descent it equals
    ``optax.add_decayed_weights(d)`` for ``coefficient = d / 2``; with adaptive
    optimizers it does not, and ``optax.adamw`` is the better choice.

    Args:
      params: as in :func:`l1`.
      coefficient: as in :func:`l1`.
      where: as in :func:`l1`.
      allow_empty: as in :func:`l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, or no leaf is selected.

    References:
      Krogh, Hertz, `A simple weight decay can improve generalization
      <https://papers.nips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html>`_,
      NeurIPS 1991; Loshchilov, Hutter, `Decoupled weight decay regularization
      <https://arxiv.org/abs/1711.05101>`_, ICLR 2019.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> float(penalties.l2({"kernel": jnp.array([[1.0, -2.0]])}, coefficient=0.5))
      2.5
    """
    return over_leaves(
        lambda _, leaf: jnp.sum(squared(leaf)),
        params,
        Selection(where, (), allow_empty, every=True),
        coefficient=coefficient,
    )


@named
def elastic_net(
    params: PyTree,
    /,
    *,
    l1: Scalar,
    l2: Scalar,
    where: Where | None = None,
    allow_empty: bool = False,
) -> Array:
    """Adds up absolute values and squares: ``l1 * sum(|w|) + l2 * sum(w**2)``.

    Args:
      params: as in :func:`l1`.
      l1: the coefficient of the absolute values: a number of at least 0, or a JAX
        scalar.
      l2: the coefficient of the squares, without a half, as in :func:`l2`.
      where: as in :func:`l1`.
      allow_empty: as in :func:`l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if a coefficient is negative, or no leaf is selected.

    References:
      Zou, Hastie, `Regularization and variable selection via the elastic net
      <https://doi.org/10.1111/j.1467-9868.2005.00503.x>`_, JRSS B 2005.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> float(penalties.elastic_net(jnp.array([1.0, -2.0]), l1=1.0, l2=0.5))
      5.5
    """
    of_moduli = as_strength(l1, name="l1")
    of_squares = as_strength(l2, name="l2")

    def penalty(name: str, leaf: Array) -> Array:
        del name
        in_l1, in_l2 = jnp.sum(moduli(leaf)), jnp.sum(squared(leaf))
        return scaled_sum([in_l1], of_moduli) + scaled_sum([in_l2], of_squares)

    return over_leaves(
        penalty,
        params,
        Selection(where, (), allow_empty, every=True),
        coefficient=1.0,
    )


@named
def group_lasso(
    params: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    axis: UnitAxes = None,
    where: Where | None = None,
    stacked: Patterns = (),
    allow_empty: bool = False,
) -> Array:
    """Adds up the norms of groups, so that each unit is kept or removed as a whole.

    ``coefficient * sum_g sqrt(n_g) * ||w_g||`` over groups of ``n_g`` weights. The
    gradient at a group of zeros is 0. For groups that become exactly zero use
    :func:`jaxdrop.constraints.group_soft_threshold`, its proximal step.

    Args:
      params: as in :func:`l1`.
      coefficient: as in :func:`l1`.
      axis: the axes that one group spans, or a function of path and leaf that returns
        them. None for the incoming weights of a unit in Flax's layout: all axes but the
        last, and only the first in the ``query``, ``key`` and ``value`` kernels of
        attention. For a dense kernel, axis 0 removes outputs and axis 1 removes inputs.
      where: selects leaves by path and value; by default the weights, without biases,
        scales and embeddings, that :func:`jaxdrop.constraints.decay_mask` marks.
      stacked: patterns of paths (``"ScanBlock_0/*"``) whose leaves stack layers along
        their first axis; ``axis`` then counts the axes of one layer.
      allow_empty: as in :func:`l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is.

    Raises:
      ValueError: if ``coefficient`` is negative, an axis does not exist, or no leaf is
        selected.

    References:
      Yuan, Lin, `Model selection and estimation in regression with grouped variables
      <https://doi.org/10.1111/j.1467-9868.2005.00532.x>`_, JRSS B 2006; Scardapane,
      Comminiello, Hussain, Uncini, `Group sparse regularization for deep neural
      networks <https://arxiv.org/abs/1607.00485>`_, Neurocomputing 2017.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> kernel = jnp.array([[3.0, 0.0], [4.0, 0.0]])  # the second unit is off
      >>> bool(jnp.isclose(penalties.group_lasso({"kernel": kernel}), 5 * 2**0.5))
      True
    """

    def penalty(name: str, leaf: Array) -> Array:
        axes = unit_axes(axis, name, leaf)
        return jnp.sum(norms(leaf, axes)) * size_of(leaf, axes) ** 0.5

    return over_leaves(
        penalty,
        params,
        Selection(where, stacked, allow_empty),
        coefficient=coefficient,
    )


@named
def toward_reference(
    params: PyTree,
    reference: PyTree,
    /,
    *,
    coefficient: Scalar = 1.0,
    where: Where | None = None,
    allow_empty: bool = False,
) -> Array:
    """Pulls weights toward given ones: ``coefficient * sum((w - reference)**2)``.

    In fine-tuning, with the pretrained weights as the reference, it is the first term
    of L2-SP. The second term, for new parameters, is :func:`l2` with the opposite
    ``where``. As in :func:`l2`, there is no factor of one half; gradients do not reach
    the reference.

    Args:
      params: as in :func:`l1`.
      reference: a tree with leaves of the same paths and shapes. It may have more
        leaves, and may be of another type (a dict for an ``nnx.State``).
      coefficient: as in :func:`l1`.
      where: as in :func:`l1`.
      allow_empty: as in :func:`l1`.

    Returns:
      A scalar, accumulated in float32, or in float64 where a leaf is. If weights and
      reference are NumPy arrays, they are subtracted in their own precision.

    Raises:
      ValueError: if ``coefficient`` is negative, no leaf is selected, or the reference
        lacks a selected leaf or has another shape for it.

    References:
      Li, Grandvalet, Davoine, `Explicit inductive bias for transfer learning with
      convolutional networks <https://arxiv.org/abs/1802.01483>`_, ICML 2018.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jaxdrop import penalties
      >>> params = {"body": jnp.array([3.0, 1.0]), "head": jnp.array([9.0])}
      >>> pretrained = {"body": jnp.array([1.0, 1.0])}
      >>> not_head = lambda path, leaf: path != "head"
      >>> float(penalties.toward_reference(params, pretrained, where=not_head))
      4.0
    """
    known: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for tree, leaves in ((reference, known), (params, given)):
        map_with_name(lambda name, leaf, to=leaves: to.update({name: leaf}), tree)

    def penalty(name: str, leaf: Array) -> Array:
        if name not in known or np.shape(known[name]) != leaf.shape:
            found = f"of shape {np.shape(known[name])}" if name in known else "missing"
            raise ValueError(
                f"the reference of {name!r}, of shape {leaf.shape}, is {found}; leave "
                "new parameters out with where=."
            )
        goal, leaf = _apart(known[name], given[name], leaf)
        wide = widened(leaf)
        return jnp.sum(squared(wide - lax.stop_gradient(goal.astype(wide.dtype))))

    return over_leaves(
        penalty,
        params,
        Selection(where, (), allow_empty, every=True),
        coefficient=coefficient,
    )


def _apart(reference: Any, given: Any, leaf: Array) -> tuple[Array, Array]:
    """JAX arrays whose difference is that of reference and weights.

    NumPy arrays are subtracted on the host, in their own precision.

    Args:
      reference: a leaf of the reference.
      given: the weights as they were given.
      leaf: the same as a JAX array.
    """
    on_host = isinstance(reference, np.ndarray) and isinstance(given, np.ndarray)
    if on_host and given.dtype.kind == "f" and reference.dtype.kind in "fiu":
        goal, weights = relative(reference=reference, params=given)
        return jnp.asarray(goal), jnp.asarray(weights)
    door = as_array if jnp.iscomplexobj(leaf) else as_real
    return jnp.asarray(door(reference, name="reference")), leaf
